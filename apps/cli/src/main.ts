import { Command, CommanderError } from 'commander';
import { Exit } from './exit.ts';

type Register = (program: Command) => void;

/** Which file has which commands: only what is asked for is loaded, since agents call this per credential. */
const groups: readonly { readonly commands: readonly string[]; load(): Promise<Register> }[] = [
  { commands: ['exchange'], load: async () => (await import('./commands/exchange.ts')).registerExchange },
  { commands: ['task'], load: async () => (await import('./commands/task.ts')).registerTask },
  {
    commands: ['get', 'describe', 'timeline', 'explain', 'whoami', 'audit'],
    load: async () => (await import('./commands/read.ts')).registerRead,
  },
  {
    commands: ['lint', 'plan', 'apply', 'schema', 'access'],
    load: async () => (await import('./commands/documents.ts')).registerDocuments,
  },
  {
    commands: ['freeze', 'thaw', 'revoke'],
    load: async () => (await import('./commands/operate.ts')).registerOperate,
  },
  {
    commands: ['serve', 'migrate', 'doctor', 'bootstrap', 'config', 'version'],
    load: async () => (await import('./commands/server.ts')).registerServer,
  },
  { commands: ['login', 'logout'], load: async () => (await import('./commands/login.ts')).registerLogin },
  { commands: ['recover'], load: async () => (await import('./commands/recover.ts')).registerRecover },
  { commands: ['keys'], load: async () => (await import('./commands/keys.ts')).registerKeys },
  { commands: ['dev'], load: async () => (await import('./commands/dev.ts')).registerDev },
  {
    commands: ['completion'],
    load: async () => (await import('./commands/completion.ts')).registerCompletion,
  },
];

/** Parses and runs; every way to end has its exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const [first = ''] = argv;
  const program = new Command('mayfly')
    .description('ephemeral credentials for agents and other workloads')
    .exitOverride()
    .showSuggestionAfterError()
    .enablePositionalOptions();
  const asked = groups.filter(({ commands }) => commands.includes(first));
  for (const group of asked.length > 0 ? asked : groups) (await group.load())(program);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const code = explain(error);
    // As `terraform plan -detailed-exitcode`: 2 says changes, so every error is 1.
    return first === 'plan' && code !== 0 ? 1 : code;
  }
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Exit) {
    console.error(error.message);
    return error.code;
  }
  const known =
    error instanceof Error && ['ConfigError', 'MigrationError', 'EmbeddedError'].includes(error.name);
  console.error(known ? error.message : describe(error));
  return known ? 2 : 3;
}

/** Faults carry a detail for operators, system errors of several addresses only a code. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const detail: unknown = Reflect.get(error, 'detail') ?? Reflect.get(error, 'code');
  const more = typeof detail === 'string' ? ` (${detail})` : '';
  if (Reflect.get(error, 'reason') === 'database_unavailable')
    return `the database does not answer${more}: is the server of DATABASE_URL up, and its login right?`;
  return `${error.name}: ${error.message}${more}`;
}

if (import.meta.main) {
  // `| head` has seen enough; whatever runs is stopped by its own end.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  process.exit(await main(process.argv.slice(2)));
}
