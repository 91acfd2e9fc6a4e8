import type { Command } from 'commander';
import { createClient, type Json, type SubjectKind } from '../client.ts';
import { fail } from '../exit.ts';
import { collect } from './task.ts';

const awsType = 'urn:mayfly:token-type:aws-credentials';

/** Forms of the output, with the only kind of credential that each can show. */
const forms = {
  'credential-process': awsType,
  env: awsType,
  header: 'urn:ietf:params:oauth:token-type:access_token',
  token: undefined,
  json: undefined,
} as const;
const formNames = Object.keys(forms) as (keyof typeof forms)[];

interface Flags {
  readonly tool: string;
  readonly resource: string;
  readonly action: readonly string[];
  readonly ttl?: string;
  readonly task?: string;
  readonly template?: string;
  readonly ref?: string;
  readonly param: Readonly<Record<string, string>>;
  readonly purpose?: string;
  readonly output: string;
}

export function registerExchange(program: Command): void {
  program
    .command('exchange')
    .description('exchanges the workload’s identity for one credential; works as an AWS credential_process')
    .requiredOption('--tool <tool>', 'tool, as the template names it')
    .requiredOption('--resource <identifier>', 'the one thing to open')
    .option(
      '--action <verb>',
      'a verb; may be repeated; default: all of the grant',
      (one, all: readonly string[]) => [...all, one],
      [] as readonly string[],
    )
    .option('--ttl <seconds>', 'life of the credential; default: that of the grant')
    .option('--task <id>', 'an open task (default: MAYFLY_TASK)')
    .option('--template <name>', 'open a task of this template (with --ref and --param)')
    .option('--ref <ref>', 'names the task: the same ref finds it again')
    .option('--param <name=value>', 'a parameter; may be repeated', collect, {})
    .option('--purpose <text>', 'shown to auditors; decides nothing')
    .option('-o, --output <form>', formNames.join(', '), 'json')
    .action((flags: Flags) => run(flags));
}

async function run(flags: Flags): Promise<void> {
  const form =
    formNames.find((one) => one === flags.output) ??
    fail(2, `-o ${flags.output}: one of ${formNames.join(', ')}`);
  const { tool, resource, template } = flags;
  const asked = template === undefined ? { tool, resource } : { tool, resource, template };
  const answer = await createClient().exchange((kind) => detailOf(flags, kind), asked, forms[form]);
  console.log(render(answer, form));
}

function detailOf(flags: Flags, kind: SubjectKind): Json {
  const { tool, resource, action, ttl, purpose } = flags;
  if (ttl !== undefined && !/^[1-9][0-9]{0,5}$/.test(ttl)) fail(2, '--ttl: whole seconds');
  return {
    type: 'mayfly_tool_call',
    tool,
    identifier: resource,
    ...taskOf(flags, kind),
    ...(action.length === 0 ? {} : { actions: action }),
    ...(ttl === undefined ? {} : { ttl: Number.parseInt(ttl, 10) }),
    ...(purpose === undefined ? {} : { purpose }),
  };
}

function taskOf({ task, template, ref, param }: Flags, kind: SubjectKind): Json {
  if (template !== undefined) {
    if (ref === undefined) fail(2, '--template needs --ref: the same ref finds the same task again');
    return { task: { template, ref, params: param } };
  }
  const id = task ?? process.env['MAYFLY_TASK'];
  if (id !== undefined) return { task: id };
  return kind === 'access_token' ? {} : fail(2, 'name --task, or --template with --ref');
}

function render(answer: Json, form: keyof typeof forms): string {
  if (form === 'json') return JSON.stringify(answer, null, 2);
  const credential = String(answer['access_token']);
  if (form === 'header') return `Authorization: ${String(answer['token_type'])} ${credential}`;
  if (form !== 'env') return credential;
  const keys: Json = JSON.parse(credential);
  return [
    `export AWS_ACCESS_KEY_ID=${keys['AccessKeyId']}`,
    `export AWS_SECRET_ACCESS_KEY=${keys['SecretAccessKey']}`,
    `export AWS_SESSION_TOKEN=${keys['SessionToken']}`,
  ].join('\n');
}
