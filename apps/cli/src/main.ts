import { ConfigError } from '@mayfly/broker';
import { Command, CommanderError } from 'commander';
import { registerDev } from './commands/dev.ts';
import { registerDocuments } from './commands/documents.ts';
import { registerExchange } from './commands/exchange.ts';
import { registerOperate } from './commands/operate.ts';
import { registerRead } from './commands/read.ts';
import { registerServer } from './commands/server.ts';
import { registerTask } from './commands/task.ts';
import { Exit } from './exit.ts';

const groups: readonly ((program: Command) => void)[] = [
  registerDev,
  registerServer,
  registerDocuments,
  registerTask,
  registerExchange,
  registerRead,
  registerOperate,
];

/** Parses and runs; every way to end has its exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('mayfly')
    .description('ephemeral credentials for agents and other workloads')
    .exitOverride()
    .showSuggestionAfterError()
    .enablePositionalOptions();
  for (const register of groups) register(program);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return explain(error);
  }
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Exit || error instanceof ConfigError) {
    console.error(error.message);
    return error instanceof Exit ? error.code : 2;
  }
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  return 3;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
