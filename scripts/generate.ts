import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { routes, settings } from '@mayfly/broker';
import { accessTable, jsonSchemas } from '@mayfly/policy';
import { errorCodes, type Reason, refusalClasses, roles } from '@mayfly/protocol';

const root = fileURLToPath(new URL('..', import.meta.url));
const note = '<!-- Made by `pnpm generate` (scripts/generate.ts); do not edit. -->\n';

/** Pages and schemas that are written from code; `--check` only compares. */
function pages(): readonly { readonly file: string; readonly text: string }[] {
  return [
    { file: 'docs/errors.md', text: errorsPage() },
    { file: 'docs/config.md', text: configPage() },
    { file: 'docs/roles.md', text: rolesPage() },
    { file: 'docs/access.md', text: accessPage() },
    { file: 'README.md', text: readme() },
    ...jsonSchemas().map(({ file, text }) => ({ file: `schemas/${file}`, text })),
  ];
}

function errorsPage(): string {
  const rows = Object.entries(errorCodes).map(([reason, row]) => {
    const apiStatus = 'apiStatus' in row ? row.apiStatus : row.status;
    return `| \`${reason}\` | \`${row.oauth}\` | ${row.status} | ${apiStatus} | ${row.says} | ${row.todo} | ${refusalClasses[reason as Reason]} |`;
  });
  return `${note}# Errors\n\nThe \`reason\` of a refusal is stable. At the OAuth routes it stands beside the OAuth error code, under \`/v1\` in an RFC 9457 problem. The last column says whether it counts for \`deviation: { refused: ... }\` (docs/deviation.md), or why not.\n\n| reason | OAuth error | status | status under /v1 | what it says | what to do | deviation |\n|---|---|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

function configPage(): string {
  const rows = Object.entries(settings).map(([name, { env, type, says }]) => {
    const parsed = type.safeParse(undefined);
    const fallback: unknown = Reflect.get(Object(Reflect.get(Object(unwrap(type)), 'def')), 'defaultValue');
    const shown =
      fallback === undefined || (parsed.success && parsed.data === undefined)
        ? ''
        : `\`${JSON.stringify(fallback)}\``;
    return `| \`${name}\` | \`${env}\` | ${shown} | ${says} |`;
  });
  return `${note}# Configuration\n\n\`mayfly.yaml\` (\`--config\` or \`MAYFLY_CONFIG\`), then the environment, then flags. Unknown keys and unknown variables MAYFLY_* refuse the start. Those of clients (MAYFLY_SERVER, MAYFLY_ASSERTION_FILE, ...) are in packages/sdk/README.md.\n\n| key | environment | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

// A default may sit below a transform.
function unwrap(type: unknown): unknown {
  const definition: unknown = Reflect.get(Object(type), 'def');
  const inner: unknown = Reflect.get(Object(definition), 'in');
  return inner === undefined ? type : unwrap(inner);
}

function rolesPage(): string {
  const header = `| route | ${roles.join(' | ')} | anyone attested | by relation to the task |`;
  const rule = `|---|${roles.map(() => '---').join('|')}|---|---|`;
  const rows = routes.map(({ method, path, access }) => {
    const cells = roles.map((role) => (typeof access !== 'string' && access.includes(role) ? 'yes' : ''));
    return `| \`${method} ${path}\` | ${cells.join(' | ')} | ${access === 'attested' ? 'yes' : ''} | ${access === 'task' ? 'yes' : ''} |`;
  });
  return `${note}# Roles and routes\n\nOne table registers the routes, asks the roles and makes this page. \`admin\`, \`template-admin\`, \`approver\` and \`break-glass\` hold only for subjects of issuers with \`people: true\`. A role with a scope reaches only what the scope names. Of documents, \`admin\` writes all but templates, \`template-admin\` templates alone, and nobody a RoleBinding that names himself.\n\n${header}\n${rule}\n${rows.join('\n')}\n`;
}

function accessPage(): string {
  const rows = accessTable.map(({ access, provider, resource, permissions, lifeSeconds, ...row }) => {
    const { mechanism, enforcedBy, ends, endsWithinSeconds, worst } = row;
    const bound = endsWithinSeconds === undefined ? worst : `${endsWithinSeconds} s`;
    const verbs = Object.keys(permissions).join(' ');
    const life = `${lifeSeconds.min}-${lifeSeconds.max} s`;
    return `| \`${access}\` | ${provider} | \`${resource}\` | ${verbs} | ${mechanism} | ${enforcedBy} | ${life} | ${ends} | ${bound} |`;
  });
  return `${note}# What an access opens\n\nThe same as \`mayfly access\`: each credential opens one such thing, for its verbs, for its life. \`enforcedBy\` is who holds it to that; where the task ends first, the last columns say what becomes of it and what bounds that.\n\n| access | provider | opens | verbs | mechanism | held to it by | life | ends | worst case after the task’s end |\n|---|---|---|---|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

/** The README, with its table of what was made from the code between two marks; accesses that are alike share a row. */
function readme(): string {
  const [begin, end] = ['<!-- access: made by `pnpm generate` -->\n', '<!-- /access -->'];
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const [before = '', rest = ''] = text.split(begin);
  const after = rest.slice(rest.indexOf(end));
  const alike = new Map<string, string[]>();
  for (const { access, mechanism, lifeSeconds, enforcedBy, ends, endsWithinSeconds, worst } of accessTable) {
    const bound = endsWithinSeconds === undefined ? worst : `${endsWithinSeconds} s`;
    const facts = `${mechanism} | ${lifeSeconds.min} s | ${enforcedBy} | ${ends} | ${bound}`;
    alike.set(facts, [...(alike.get(facts) ?? []), `\`${access}\``]);
  }
  const rows = [...alike].map(([facts, accesses]) => `| ${accesses.join(' ')} | ${facts} |`);
  const head =
    '| access | mechanism | shortest life | held to it by | how it ends | worst case after the task’s end |\n|---|---|---|---|---|---|\n';
  return `${before}${begin}${head}${rows.join('\n')}\n${after}`;
}

const check = process.argv.includes('--check');
let stale = 0;
for (const { file, text } of pages()) {
  const path = join(root, file);
  const before = existsSync(path) ? readFileSync(path, 'utf8') : '';
  if (before === text) continue;
  if (check) {
    console.error(`${file} is not what the code makes; run pnpm generate`);
    stale += 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${file}`);
  }
}
process.exit(stale === 0 ? 0 : 1);
