import type { Command } from 'commander';
import { createClient } from '../client.ts';
import { fail } from '../exit.ts';
import { type Format, parseFormat, printOne } from '../print.ts';

export function registerOperate(program: Command): void {
  for (const [verb, says] of [
    ['freeze', 'stops all issuing at once; ending goes on'],
    ['thaw', 'ends the freeze'],
  ] as const)
    program
      .command(verb)
      .description(says)
      .option('--template <name>', 'only of this template')
      .option('--provider <name>', 'only at this provider')
      .option('--issuer <name>', 'only for its workloads')
      .requiredOption('--reason <text>', 'for the audit log')
      .option('-o, --output <format>', 'table or json', 'table')
      .action(async ({ output, ...json }) =>
        printOne(await createClient().api('POST', `/v1/${verb}`, { json }), parseFormat(output)),
      );
  registerRevoke(program);
}

const scopes = ['task', 'grant', 'workload', 'template', 'issuer', 'provider'] as const;
/** A job of thousands takes seconds: asked again often enough to be followed, seldom enough to cost nothing. */
const watchMs = 500;

function registerRevoke(program: Command): void {
  const command = program.command('revoke').description('ends all that one name covers, as a job');
  for (const scope of scopes) command.option(`--${scope} <id>`, `what this ${scope} has`);
  command
    .requiredOption('--reason <text>', 'for the audit log')
    .option('--dry-run', 'only counts')
    .option('--watch', 'waits until all has ended and the clouds have confirmed it')
    .option('-o, --output <format>', 'table or json', 'table')
    .action(revoke);
}

type RevokeOptions = Partial<Record<(typeof scopes)[number], string>> & {
  readonly reason: string;
  readonly dryRun?: boolean;
  readonly watch?: boolean;
  readonly output: string;
};

async function revoke({
  reason,
  dryRun = false,
  watch = false,
  output,
  ...named
}: RevokeOptions): Promise<void> {
  const format: Format = parseFormat(output);
  if (Object.keys(named).length !== 1) fail(2, `name exactly one of --${scopes.join(', --')}`);
  const client = createClient();
  let job = await client.api('POST', '/v1/revocations', { json: { ...named, reason, dryRun } });
  while (watch && !dryRun && isUnderWay(job)) {
    console.error(`${job['ended']} of ${job['total']} ${job['unit']} ended`);
    await new Promise((resolve) => setTimeout(resolve, watchMs));
    job = await client.api('GET', `/v1/revocations/${job['id']}`);
  }
  printOne(job, format);
}

function isUnderWay({ state, credentials }: Readonly<Record<string, unknown>>): boolean {
  return state === 'running' || Reflect.get(Object(credentials), 'pending') !== 0;
}
