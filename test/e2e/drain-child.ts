import { form, opening, startWorld } from './world.ts';

/**
 * A whole installation in one process that sends itself SIGTERM while the cloud holds a mint: what is said on standard
 * output is what a load balancer and a client would see. Run by operations.test.ts.
 */
const world = await startWorld();
const say = (line: string) => process.stdout.write(`${line}\n`);
const release = world.clouds.aws.faults.arm({ action: 'AssumeRoleWithWebIdentity', mode: 'hold' });
const held = world.exchange(form(await world.workload(), opening('held')));
while ((await world.sql(`select from work where state = 'intended'`)).length === 0);
say('held');
const stopped = new Promise<void>((resolve) => {
  process.once('SIGTERM', () => void world.stop().then(resolve));
});
process.kill(process.pid, 'SIGTERM');
while (!world.running.broker.draining()) await new Promise((resolve) => setImmediate(resolve));
say(`draining ${(await fetch(`${world.running.opsUrl}/readyz`)).status}`);
const refused = await world.exchange(form(await world.workload(), opening('new')));
say(`new ${refused.status} ${refused.body.reason}`);
release();
say(`in flight ${(await held).status}`);
await stopped;
say('stopped');
