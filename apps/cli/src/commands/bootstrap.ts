import { compileTrustedIssuer, isDocumentOf, reopenDocument } from '@mayfly/policy';
import type { Store } from '@mayfly/store';
import { fail } from '../exit.ts';
import { type ConfigFlags, load, withStore } from '../installation.ts';

const bindingName = 'bootstrap-admin';

interface Flags extends ConfigFlags {
  readonly issuer: string;
  readonly subject: string;
}

type Documents = Awaited<ReturnType<Store['documents']['load']>>['documents'];

/** A RoleBinding of its own set, written by whoever can run this on the server with its keys; never from a first caller. */
export async function bootstrap(flags: Flags): Promise<void> {
  const config = load(flags);
  await withStore(config, async (store) => {
    const { epoch, documents } = await store.documents.load();
    refuseStranger(documents, flags, config.issuer);
    const subjects = [{ issuer: flags.issuer, match: { sub: flags.subject } }];
    const body = {
      apiVersion: 'mayfly/v1',
      kind: 'RoleBinding',
      metadata: { name: bindingName },
      spec: { roles: ['admin'], subjects },
    };
    const result = await store.documents.apply({
      set: 'bootstrap',
      upserts: [{ kind: 'RoleBinding', name: bindingName, body }],
      deletions: [],
      takeOver: false,
      expectedEpoch: epoch,
      actor: 'mayfly bootstrap',
      event: (change) => ({
        id: crypto.randomUUID(),
        type: 'document.applied',
        at: new Date(),
        actor: 'mayfly bootstrap',
        taskId: null,
        issuanceId: null,
        body: { ...change },
      }),
    });
    if (result.kind === 'stale') fail(3, 'the policy changed meanwhile; run it again');
    console.log(`${flags.issuer}/${flags.subject} is admin (RoleBinding ${bindingName})`);
    const before = documents.find(({ kind, name }) => kind === 'RoleBinding' && name === bindingName);
    if (before !== undefined && JSON.stringify(subjectsOf(before.body)) !== JSON.stringify(subjects))
      console.error(`it replaces the admin made before: ${JSON.stringify(subjectsOf(before.body))}`);
  });
}

/** An admin who could never sign in would be noticed only in need. */
function refuseStranger(documents: Documents, { issuer, subject }: Flags, brokerIssuer: string): void {
  const found = documents.find(({ kind, name }) => kind === 'TrustedIssuer' && name === issuer);
  if (found === undefined)
    fail(1, `no TrustedIssuer ${issuer}; put it into the bundle, and start \`mayfly serve\` once`);
  const document = reopenDocument(found.body);
  if (!isDocumentOf(document, 'TrustedIssuer') || !document.spec.people)
    fail(1, `${issuer} is not an issuer of people (people: true)`);
  const { subjects } = compileTrustedIssuer(document, { brokerIssuer });
  if (!subjects.some((pattern) => pattern.matches(subject)))
    fail(1, `the subjects of ${issuer} do not admit ${subject}: nobody could sign in as this admin`);
}

function subjectsOf(body: object): unknown {
  return Reflect.get(Object(Reflect.get(body, 'spec')), 'subjects');
}
