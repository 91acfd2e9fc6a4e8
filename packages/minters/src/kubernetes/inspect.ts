import type { CallContext, Inspection } from '@mayfly/core';
import { z } from 'zod';
import { lying, refusalOf } from '../rest/rest.ts';
import { issuerOf, saidBy, tooMuch } from '../said.ts';
import type { MinterServices } from '../services.ts';
import type { Cluster, Clusters } from './cluster.ts';
import type { KubernetesProvider } from './provider.ts';

type Purpose = 'mint' | 'revoke';

interface Tools {
  readonly services: MinterServices;
  readonly clusters: Clusters;
}

/** What RBAC is asked about; `*` stands for everything. */
interface Attributes {
  readonly verb: string;
  readonly resource: string;
  readonly group?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

interface Question {
  readonly subject: string;
  readonly asks: Attributes;
  /** The lines that give what is missing; null: it must be refused. */
  readonly needs: string | null;
}

/**
 * What each of our identities may in the cluster, by SelfSubjectAccessReview, which stores nothing: what minting and
 * taking back need, and what neither may have.
 */
export async function inspectKubernetes(
  provider: KubernetesProvider,
  tools: Tools,
  context: CallContext,
): Promise<readonly Inspection[]> {
  const found: Inspection[] = [];
  for (const purpose of ['mint', 'revoke'] as const)
    found.push(...(await lookAs(purpose, provider, { ...tools, context })));
  return found;
}

async function lookAs(
  purpose: Purpose,
  provider: KubernetesProvider,
  { services, clusters, context: { signal } }: Tools & { context: CallContext },
): Promise<Inspection[]> {
  const found: Inspection[] = [];
  try {
    const cluster = await clusters.open({ provider, purpose, signal });
    for (const question of questionsOf(purpose, provider)) {
      const { subject, needs } = question;
      const allowed = await review(cluster, question.asks);
      if (needs === null) {
        if (allowed) found.push(tooMuch(subject, `${userOf(provider, purpose)} may do this; take it away`));
      } else if (allowed) found.push({ subject, ok: true, says: 'allowed' });
      else found.push({ subject, ok: false, says: `not allowed; ${needs}` });
    }
    return found;
  } catch (error) {
    const says = `${saidBy(error)}; ${await identityNeeds(purpose, provider, services)}`;
    return [...found, { subject: `${purpose} identity`, ok: false, says }];
  }
}

function questionsOf(purpose: Purpose, provider: KubernetesProvider): Question[] {
  const accounts = provider.serviceAccounts.map((account) => account.split('/'));
  const namespaces = new Set(accounts.map(([namespace = '']) => namespace));
  const user = userOf(provider, purpose);
  const found: Question[] = [...namespaces].flatMap((namespace) => {
    const [verb, role] = purpose === 'mint' ? ['create', 'mayfly-secrets'] : ['delete', 'mayfly-reaper'];
    const line = { namespace, role, verb, resource: 'secrets', user };
    return [
      {
        subject: `${purpose} ${namespace}: ${verb} Secrets`,
        asks: { verb, resource: 'secrets', namespace },
        needs: roleLines(line),
      },
      ...['get', 'list', 'watch'].map((reads) => ({
        subject: `${purpose} ${namespace}: ${reads} Secrets`,
        asks: { verb: reads, resource: 'secrets', namespace },
        needs: null,
      })),
      ...(purpose === 'mint' ? [anyToken(namespace)] : []),
    ];
  });
  if (purpose === 'mint')
    for (const [namespace = '', name = ''] of accounts)
      found.push({
        subject: `mint ${namespace}/${name}: TokenRequest`,
        asks: { verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace, name },
        needs: roleLines({
          ...{ namespace, role: `mayfly-tokens-${name}`, verb: 'create', user },
          resource: `serviceaccounts/token --resource-name=${name}`,
        }),
      });
  const everything = { verb: '*', group: '*', resource: '*' };
  return [...found, { subject: `${purpose} everything`, asks: everything, needs: null }];
}

/** Asked without a name, RBAC says yes only to a rule that names none. */
function anyToken(namespace: string): Question {
  const asks = { verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace };
  return { subject: `mint ${namespace}: TokenRequest of any account`, asks, needs: null };
}

interface RoleLine {
  readonly namespace: string;
  readonly role: string;
  readonly verb: string;
  readonly resource: string;
  readonly user: string;
}

/** As in docs/clouds/kubernetes.md. */
function roleLines({ namespace, role, verb, resource, user }: RoleLine): string {
  const kubectl = `kubectl -n ${namespace} create`;
  return `${kubectl} role ${role} --verb=${verb} --resource=${resource} && ${kubectl} rolebinding ${role} --role=${role} --user=${user}`;
}

/** The name that RBAC knows us by; that of a token file stands in the token, which is not ours to read. */
function userOf({ name, auth }: KubernetesProvider, purpose: Purpose): string {
  return auth === 'federation' ? `mayfly:${name}:${purpose}` : 'USER_OF_THE_TOKEN_FILE';
}

async function identityNeeds(
  purpose: Purpose,
  { name, auth, audience, tokenFile }: KubernetesProvider,
  { federation }: MinterServices,
): Promise<string> {
  if (auth === 'tokenFile') return `the API server must know the token in ${tokenFile}`;
  const url = issuerOf(await federation.sign({ provider: name, purpose, audience }));
  const jwt = {
    issuer: { url, audiences: [audience] },
    claimMappings: { username: { claim: 'sub', prefix: '' } },
  };
  return `AuthenticationConfiguration needs jwt: ${JSON.stringify([jwt])}`;
}

const reviewed = z.object({ status: z.object({ allowed: z.boolean() }) });

async function review(cluster: Cluster, resourceAttributes: Attributes): Promise<boolean> {
  const name = 'SelfSubjectAccessReview';
  const answer = await cluster.send(name, 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1',
    kind: name,
    spec: { resourceAttributes },
  });
  if (answer.status !== 201) throw refusalOf(name, answer);
  const parsed = reviewed.safeParse(answer.body);
  if (!parsed.success) throw lying('something that is no review');
  return parsed.data.status.allowed;
}
