import { startClouds } from '../../apps/cli/src/dev/clouds.ts';

/** The stand-in AWS in a process of its own, as a cloud is; ends with its parent's standard input. */
const [federationIssuer = '', latencyMs = '0'] = process.argv.slice(2);
const { aws } = await startClouds({
  federationIssuer,
  assertionBearer: 'unused',
  latencyMs: Number.parseInt(latencyMs, 10),
});
console.log(`READY ${aws.url}`);
process.stdin.on('end', () => process.exit(0)).resume();
