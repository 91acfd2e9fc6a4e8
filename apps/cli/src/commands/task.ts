import type { Command } from 'commander';
import { createClient, type Json } from '../client.ts';
import { fail } from '../exit.ts';
import { parseFormat, printOne } from '../print.ts';

const json = ['-o, --output <format>', 'table, json, yaml or name', 'table'] as const;

export function registerTask(program: Command): void {
  const task = program.command('task').description('opens, shows and ends tasks');
  task
    .command('open')
    .description('opens a task, or finds the open one of the same ref; prints its id and task token')
    .requiredOption('--template <name>', 'template')
    .option('--param <name=value>', 'a parameter; may be repeated', collect, {})
    .option('--ref <ref>', 'the same ref with the same parameters finds the same task')
    .option('--objective <text>', 'what it is for; shown to auditors')
    .option(...json)
    .action(async ({ template, param, ref, objective, output }) => {
      const body = { template, params: param, ...(ref ? { ref } : {}), ...(objective ? { objective } : {}) };
      printOne(await createClient().api('POST', '/v1/tasks', { json: body }), parseFormat(output));
    });
  task
    .command('show [id]')
    .description('shows a task')
    .option(...json)
    .action(async (id, { output }) =>
      printOne(await createClient().api('GET', path(id)), parseFormat(output)),
    );
  task
    .command('heartbeat [id]')
    .description('renews the lease')
    .option(...json)
    .action(async (id, { output }) =>
      printOne(await createClient().api('POST', `${path(id)}/heartbeat`), parseFormat(output)),
    );
  task
    .command('end [id]')
    .description('ends a task and everything beneath it')
    .option('--outcome <outcome>', 'completed, failed or cancelled', 'completed')
    .option(...json)
    .action(async (id, { outcome, output }) =>
      printOne(await post(id, 'end', { outcome }), parseFormat(output)),
    );
  task
    .command('signal [id]')
    .description('tells what was seen of a task, and prints the verdict: a call of a tool, or an observation')
    .option('--tool <tool>', 'the tool that was called')
    .option('--identifier <resource>', 'what it was called on')
    .option('--action <action...>', 'what was done there')
    .option('--verdict <verdict>', 'of an observation: ok, suspended or deviation')
    .option('--note <text>', 'for the audit log; required with a verdict')
    .option(...json)
    .action(async (id, { tool, identifier, action: actions, verdict, note, output }) =>
      printOne(
        await post(id, 'signals', defined({ tool, identifier, actions, verdict, note })),
        parseFormat(output),
      ),
    );
  for (const [verb, says] of [
    ['suspend', 'suspends a task and takes back what is out (operators)'],
    ['resume', 'resumes a suspended task (operators)'],
  ] as const)
    task
      .command(`${verb} <id>`)
      .description(says)
      .option('--reason <text>', 'for the audit log')
      .option(...json)
      .action(async (id, { reason, output }) =>
        printOne(await post(id, verb, reason ? { reason } : {}), parseFormat(output)),
      );
}

function post(id: string | undefined, verb: string, body: Json): Promise<Json> {
  return createClient().api('POST', `${path(id)}/${verb}`, { json: body });
}

function path(id: string | undefined): string {
  const task = id ?? process.env['MAYFLY_TASK'];
  return task === undefined
    ? fail(2, 'name the task, or set MAYFLY_TASK')
    : `/v1/tasks/${encodeURIComponent(task)}`;
}

function defined(values: Readonly<Record<string, unknown>>): Json {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** `--param name=value`, collected. */
export function collect(one: string, all: Readonly<Record<string, string>>): Record<string, string> {
  const at = one.indexOf('=');
  return at < 1
    ? fail(2, `--param ${one}: write NAME=VALUE`)
    : { ...all, [one.slice(0, at)]: one.slice(at + 1) };
}
