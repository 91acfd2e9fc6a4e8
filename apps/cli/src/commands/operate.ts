import type { Command } from 'commander';
import { createClient } from '../client.ts';
import { parseFormat, printOne } from '../print.ts';

export function registerOperate(program: Command): void {
  for (const [verb, says] of [
    ['freeze', 'stops all issuing at once; ending goes on'],
    ['thaw', 'ends the freeze'],
  ] as const)
    program
      .command(verb)
      .description(says)
      .requiredOption('--reason <text>', 'for the audit log')
      .option('-o, --output <format>', 'table or json', 'table')
      .action(async ({ reason, output }) =>
        printOne(await createClient().api('POST', `/v1/${verb}`, { json: { reason } }), parseFormat(output)),
      );
}
