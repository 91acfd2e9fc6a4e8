import { type CallContext, Fault, type Inspection } from '@mayfly/core';
import { issuerOf, saidBy, tooMuch } from '../said.ts';
import type { MinterServices } from '../services.ts';
import { answerTimeoutMs, gcpCall, lying } from './call.ts';
import { assertionAudience, clientWith, type Identities, iamScope } from './federation.ts';
import type { GcpProvider } from './provider.ts';

/** A text that is no request to any service: its signature opens nothing. */
const payload = Buffer.from('mayfly doctor');
/** Of the token that is made to look: it stays here and goes with the look. */
const lookSeconds = 30;

type IamClient = ReturnType<typeof clientWith>;

interface Tools {
  readonly services: MinterServices;
  readonly identities: Identities;
}

interface Look {
  readonly provider: GcpProvider;
  readonly context: CallContext;
}

/**
 * The federation, then each service account by the two calls that minting makes: a signature of a text that opens
 * nothing, and a token of seconds that stays here. With that token the account is asked to sign for itself, which must
 * be refused: else whoever holds a `gcp.token` makes new ones without end.
 */
export async function inspectGcp(
  provider: GcpProvider,
  { services, identities }: Tools,
  context: CallContext,
): Promise<readonly Inspection[]> {
  const subject = 'federation';
  let client: IamClient;
  try {
    client = await identities.clientOf(provider, context);
  } catch (error) {
    return [{ subject, ok: false, says: `${saidBy(error)}; ${await poolNeeds(provider, services)}` }];
  }
  const found: Inspection[] = [{ subject, ok: true, says: 'our assertion is accepted' }];
  for (const account of provider.serviceAccounts)
    found.push(...(await lookAtAccount(account, client, { provider, context })));
  return found;
}

async function lookAtAccount(account: string, client: IamClient, look: Look): Promise<Inspection[]> {
  const { provider, context } = look;
  const [signs, gives] = [`signBlob ${account}`, `generateAccessToken ${account}`];
  const missing = (subject: string, permission: string, error: unknown): Inspection => ({
    ...{ subject, ok: false },
    says: `${saidBy(error)}; needs ${permission}: ${bindingOf(provider, account)}`,
  });
  const found: Inspection[] = [];
  try {
    await sign(client, account, context);
    found.push({ subject: signs, ok: true, says: 'allowed' });
  } catch (error) {
    found.push(missing(signs, 'iam.serviceAccounts.signBlob', error));
  }
  try {
    const token = await makeToken(client, account, context);
    found.push({ subject: gives, ok: true, says: 'allowed' });
    found.push(...(await lookAtItself(account, clientWith(token, provider), look)));
  } catch (error) {
    found.push(missing(gives, 'iam.serviceAccounts.getAccessToken', error));
  }
  return found;
}

/** Only a clean refusal shows that it may not. */
async function lookAtItself(account: string, client: IamClient, { context }: Look): Promise<Inspection[]> {
  const subject = `itself ${account}`;
  try {
    await sign(client, account, context);
  } catch (error) {
    if (error instanceof Fault && error.reason === 'provider_refused' && error.effect === 'none') return [];
    return [{ subject, ok: false, says: `${saidBy(error)}; whether it may use itself is not known` }];
  }
  const remove = `gcloud iam service-accounts remove-iam-policy-binding ${account} --role ROLE --member serviceAccount:${account}`;
  return [tooMuch(subject, `whoever holds its token can sign and prolong as it; ${remove}`)];
}

const callOptions = { timeout: answerTimeoutMs, retry: { retryCodes: [] } };

async function sign(client: IamClient, account: string, context: CallContext): Promise<void> {
  const [answer] = await gcpCall('SignBlob', context, () =>
    client.signBlob({ name: nameOf(account), payload }, callOptions),
  );
  // RSA with 2048 bits, as for a URL.
  if (!(answer.signedBlob instanceof Uint8Array) || answer.signedBlob.length !== 256)
    throw lying('something else than a signature');
}

async function makeToken(client: IamClient, account: string, context: CallContext): Promise<string> {
  const asked = { name: nameOf(account), scope: [iamScope], lifetime: { seconds: lookSeconds } };
  const [{ accessToken, expireTime }] = await gcpCall('GenerateAccessToken', context, () =>
    client.generateAccessToken(asked, callOptions),
  );
  if (!accessToken) throw lying('no token');
  // Its clock is not ours: the other half of a minute is for that.
  if (!(Number(expireTime?.seconds) * 1000 <= context.now.getTime() + 2 * lookSeconds * 1000))
    throw lying('a longer life than asked for');
  return accessToken;
}

function nameOf(account: string): string {
  return `projects/-/serviceAccounts/${account}`;
}

/** As in docs/clouds/gcp.md. */
function bindingOf({ name, workloadIdentityProvider }: GcpProvider, account: string): string {
  const [pool = ''] = workloadIdentityProvider.split('/providers/');
  const project = /@([a-z0-9-]+)\.iam\./.exec(account)?.[1] ?? 'PROJECT';
  return [
    `gcloud iam service-accounts add-iam-policy-binding ${account} --project ${project}`,
    `--role projects/${project}/roles/mayflyMint`,
    `--member principal://iam.googleapis.com/${pool}/subject/mayfly:${name}:mint`,
  ].join(' ');
}

async function poolNeeds(provider: GcpProvider, { federation }: MinterServices): Promise<string> {
  const { name, workloadIdentityProvider } = provider;
  const audience = assertionAudience(provider);
  const issuer = issuerOf(await federation.sign({ provider: name, purpose: 'mint', audience }));
  const [, pool, id] =
    /workloadIdentityPools\/([^/]+)\/providers\/(.+)$/.exec(workloadIdentityProvider) ?? [];
  return [
    `gcloud iam workload-identity-pools providers create-oidc ${id} --location global --project PROJECT`,
    `--workload-identity-pool ${pool} --issuer-uri ${issuer} --attribute-mapping google.subject=assertion.sub`,
    `--attribute-condition "assertion.sub == 'mayfly:${name}:mint'" (audience ${audience}, Google's default)`,
  ].join(' ');
}
