import { recoverDatabase, surveyRecovery } from '@mayfly/broker';
import type { Command } from 'commander';
import { fail } from '../exit.ts';
import { type ConfigFlags, load, withStore } from '../installation.ts';

const progressEvery = 1_000;

interface RecoverFlags extends ConfigFlags {
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

export function registerRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'after a restored backup or a lost failover: ends all that it may have forgotten, and issuing goes on',
    )
    .option('--config <file>', 'mayfly.yaml (default: MAYFLY_CONFIG)')
    .option('--dry-run', 'only says what would be done')
    .option('--force', 'although no broker has found this database to be an older state')
    .action((flags: RecoverFlags) => recover(flags));
}

async function recover(flags: RecoverFlags): Promise<void> {
  const { dryRun = false, force = false } = flags;
  await withStore(load(flags), async (store, kek) => {
    const { recovery, openTasks, roles } = await surveyRecovery(store);
    if (recovery === null && !force && !dryRun)
      fail(
        1,
        'no broker has found this database to be an older state (each looks every five seconds); --force ends everything all the same',
      );
    console.log(
      `state       ${recovery === null ? 'nothing is wrong, as far as is known' : (words[recovery] ?? recovery)}`,
    );
    console.log(`open tasks  ${openTasks}, each is ended with what is known beneath it`);
    console.log(`AWS roles   ${roles.length}, sessions issued before now are denied`);
    console.log('keys        tokens are signed by new ones; the old ones are taken out at once');
    console.log('assertions  of single use, from before now, count as used');
    if (dryRun) return;
    const onEnded = (tasks: number) => {
      if (tasks % progressEvery === 0) console.error(`${tasks} tasks ended`);
    };
    const ended = await recoverDatabase(store, { kek, onEnded });
    if (ended === null) fail(1, 'a task was opened meanwhile; run it again');
    console.log(
      `recovered   ${ended} tasks ended; what clouds have yet to confirm: mayfly get issuances --state revoking`,
    );
  });
}

const words: Readonly<Record<string, string>> = {
  older: 'older than was known: restored, or a failover that lost writes',
  moved: 'restored into another PostgreSQL cluster',
  asked: 'a recovery that was begun',
};
