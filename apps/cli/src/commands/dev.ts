import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { runDemo, type Step } from '../dev/demo.ts';
import { type DevEnvironment, readDevFile, startDev } from '../dev/environment.ts';
import { fail } from '../exit.ts';

interface DevFlags {
  readonly once?: boolean;
  readonly awsEndpoint?: string;
  readonly dataDir: string;
  readonly listen: string;
  readonly opsListen: string;
}

interface TokenFlags {
  readonly sub: string;
  readonly claim: readonly string[];
  readonly person?: boolean;
  readonly dataDir: string;
}

const dataDir = process.env['MAYFLY_DATA_DIR'] ?? '.mayfly';

export function registerDev(program: Command): void {
  const dev = program
    .command('dev')
    .description(
      'everything on loopback with sample documents: real PostgreSQL, broker, local issuers, stand-in AWS',
    )
    .option('--once', 'run the demo once and exit 0 only if every step held')
    .option('--aws-endpoint <url>', 'STS, IAM and S3 on loopback, such as Ceph, in place of the stand-in AWS')
    .option('--data-dir <dir>', 'data directory', dataDir)
    .option('--listen <address>', 'address of the broker', process.env['MAYFLY_LISTEN'] ?? '127.0.0.1:8080')
    .option(
      '--ops-listen <address>',
      'address of /livez, /readyz, /metrics',
      process.env['MAYFLY_OPS_LISTEN'] ?? '127.0.0.1:9464',
    )
    .action((flags: DevFlags) => runDev(flags));
  dev
    .command('token')
    .description('prints an assertion of the local issuer of a running `mayfly dev`')
    .option('--sub <subject>', 'subject', 'reconciler')
    .option(
      '--claim <name=value>',
      'a claim; may be repeated',
      (one: string, all: readonly string[]) => [...all, one],
      [] as readonly string[],
    )
    .option('--person', 'from the issuer for people (roles), not the one for workloads')
    .option('--data-dir <dir>', 'data directory', dataDir)
    .action((flags: TokenFlags) => printToken(flags));
}

async function runDev(flags: DevFlags): Promise<void> {
  console.log(
    `Mayfly dev  (Node ${process.versions.node}, PostgreSQL 18 embedded, data in ${flags.dataDir})`,
  );
  if (flags.awsEndpoint !== undefined) checkForeign(flags.awsEndpoint);
  const environment = await startDev(flags);
  const steps = await demo(environment, flags.awsEndpoint);
  const held = steps.every((step) => step.held);
  if (flags.once) {
    await environment.stop();
    process.exitCode = held ? 0 : 1;
    return;
  }
  printInvitation(environment, flags);
  await ended();
  console.log('stopping ...');
  await environment.stop();
}

function checkForeign(endpoint: string): void {
  const url = URL.parse(endpoint);
  if (url === null || url.hostname !== '127.0.0.1' || url.origin !== endpoint)
    fail(
      2,
      '--aws-endpoint: http://127.0.0.1:PORT; from elsewhere the broker’s keys on loopback cannot be fetched',
    );
  if (!process.env['AWS_ACCESS_KEY_ID'] || !process.env['AWS_SECRET_ACCESS_KEY'])
    fail(2, '--aws-endpoint: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of who may make roles there');
}

async function demo(
  { clouds, running, file }: DevEnvironment,
  foreign: string | undefined,
): Promise<readonly Step[]> {
  const { workloads, people } = clouds;
  const target = {
    broker: running.url,
    s3: file.aws,
    ledger: foreign === undefined ? file.aws : null,
    ...(foreign === undefined ? {} : { cloud: new URL(foreign).host }),
    workload: () => workloads.assertion({ subject: 'reconciler', audience: running.url }),
    person: () =>
      people.assertion({
        subject: 'jane@corp.example',
        audience: running.url,
        claims: { groups: ['platform'] },
      }),
    ref: `demo-${randomBytes(4).toString('hex')}`,
  };
  return runDemo(target, ({ title, detail, outcome, held }, index) => {
    console.log(
      `  ${index} ${title.padEnd(12)} ${detail.padEnd(52)} ${outcome}${held ? '' : '   <-- DID NOT HOLD'}`,
    );
  });
}

function printInvitation({ running }: DevEnvironment, { dataDir: folder }: DevFlags): void {
  const where = folder === '.mayfly' ? '' : ` --data-dir ${folder}`;
  const ref = `try-${randomBytes(3).toString('hex')}`;
  const details = `[{"type":"mayfly_tool_call","tool":"s3.read","identifier":"arn:aws:s3:::invoices/2026q3/a.pdf","task":{"template":"invoice-reconcile","ref":"${ref}","params":{"quarter":"2026q3"}}}]`;
  console.log(`broker ${running.url}   ops ${running.opsUrl}   try it in a second terminal:
  curl -s ${running.url}/token \\
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\
    -d subject_token_type=urn:ietf:params:oauth:token-type:jwt \\
    -d subject_token="$(npm run -s mayfly -- dev token --sub reconciler${where})" \\
    --data-urlencode 'authorization_details=${details}'
and end the task with the task_token and issuance.task of its first answer:
  curl -s -X POST ${running.url}/v1/tasks/TASK/end -H "Authorization: Bearer TASK_TOKEN"
Ctrl-C stops everything.`);
}

function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

async function printToken({ sub, claim, person, dataDir: folder }: TokenFlags): Promise<void> {
  const file = devFile(folder);
  const claims: Record<string, unknown> = {};
  for (const one of claim) {
    const at = one.indexOf('=');
    if (at < 1) fail(2, `--claim ${one}: write NAME=VALUE`);
    const [name, value] = [one.slice(0, at), one.slice(at + 1)];
    const before = claims[name];
    claims[name] = before === undefined ? value : [before, value].flat();
  }
  const answer = await fetch(`${person ? file.people : file.workloads}/dev/assertion`, {
    method: 'POST',
    headers: { authorization: `Bearer ${file.assertionBearer}`, 'content-type': 'application/json' },
    body: JSON.stringify({ subject: sub, audience: file.broker, claims }),
  }).catch(() => fail(3, 'mayfly dev is not running (its issuer does not answer); start it with npm start'));
  if (!answer.ok) fail(3, `the local issuer answered ${answer.status}`);
  const body: unknown = await answer.json();
  console.log(String(Reflect.get(Object(body), 'assertion')));
}

function devFile(folder: string) {
  try {
    return readDevFile(folder);
  } catch {
    return fail(3, `mayfly dev is not running here (no ${folder}/dev.json); start it with npm start`);
  }
}
