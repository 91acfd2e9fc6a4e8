import type { Command } from 'commander';
import { fail } from '../exit.ts';

/** Words to complete after `mayfly`; the commands' own options are shown by `--help`. */
export function registerCompletion(program: Command): void {
  program
    .command('completion <shell>')
    .description('prints a completion script for bash or zsh')
    .action((shell: string) => {
      const words = commandWords.join(' ');
      if (shell === 'bash') console.log(`complete -W "${words}" mayfly`);
      else if (shell === 'zsh') console.log(`#compdef mayfly\ncompadd ${words}`);
      else fail(2, 'bash or zsh');
    });
}

const commandWords = [
  'access',
  'apply',
  'audit',
  'bootstrap',
  'completion',
  'config',
  'describe',
  'dev',
  'doctor',
  'exchange',
  'explain',
  'freeze',
  'get',
  'keys',
  'lint',
  'login',
  'logout',
  'migrate',
  'plan',
  'recover',
  'revoke',
  'schema',
  'serve',
  'task',
  'thaw',
  'timeline',
  'version',
  'whoami',
];
