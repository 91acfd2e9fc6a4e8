import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { answerTimeoutMs, gcpCall, lying } from './call.ts';
import { Identities } from './federation.ts';
import { inspectGcp } from './inspect.ts';
import { answerSeconds, type GcpBody, gcpBody, planGcp, type TokenBody } from './plan.ts';
import { type GcpProvider, parseGcpProvider, storageEndpoint, stsEndpoint } from './provider.ts';
import { signedUrl, stringToSign } from './signed-url.ts';
import { downscopingForm, exchangeToken } from './sts.ts';

/**
 * Google Cloud: the broker's assertion becomes a federated token that stays here; with it a service account signs a
 * URL for one object, or gives a token that is downscoped to one prefix. Nothing takes one credential back: each ends
 * by its expiry, and disabling the service account is for people (docs/clouds/gcp.md).
 */
export function createGcpMinter(options: MinterServices): Minter {
  const identities = new Identities(options.federation);
  return {
    kind: 'gcp',
    local: false,
    plan: planGcp,
    mint: async (plan, context) => {
      const provider = options.provider(plan.provider);
      if (provider === undefined)
        throw new Fault('provider_refused', { effect: 'none', detail: `provider ${plan.provider} is gone` });
      const minting = { plan, provider: parseGcpProvider(provider), identities, context };
      const body = gcpBody.parse(plan.body);
      return body.access === 'gcs.object' ? signUrl(minting, body) : makeToken(minting, body);
    },
    revoke: async () => 'wait-for-expiry',
    inspect: (provider, context) =>
      inspectGcp(parseGcpProvider(provider), { services: options, identities }, context),
  };
}

interface Minting {
  readonly plan: MintPlan;
  readonly provider: GcpProvider;
  readonly identities: Identities;
  readonly context: CallContext;
}

/** A signature of RSA with 2048 bits; one of another length is none of a service account's. */
const signatureBytes = 256;

async function signUrl(
  { plan, provider, identities, context }: Minting,
  body: Extract<GcpBody, { access: 'gcs.object' }>,
): Promise<Minted> {
  const client = await identities.clientOf(provider, context);
  const payload = Buffer.from(stringToSign(body.canonicalRequest));
  const [answer] = await gcpCall('SignBlob', context, () =>
    client.signBlob({ name: nameOf(body), payload }, callOptions(body)),
  );
  const { signedBlob } = answer;
  if (!(signedBlob instanceof Uint8Array) || signedBlob.length !== signatureBytes)
    throw lying('something else than a signature');
  const url = signedUrl(storageEndpoint(provider), body.canonicalRequest, signedBlob);
  return { credential: new Secret(url), expiresAt: new Date(plan.notAfter), keyHash: null };
}

async function makeToken(minting: Minting, body: TokenBody): Promise<Minted> {
  const { plan, provider, identities, context } = minting;
  const end = Date.parse(plan.notAfter);
  const client = await identities.clientOf(provider, context);
  const leftSeconds = Math.floor((end - context.now.getTime()) / 1000) - answerSeconds;
  const seconds = Math.min(body.lifetimeSeconds, leftSeconds);
  if (seconds < 1)
    throw new Fault('provider_unavailable', { effect: 'none', detail: 'no time is left for a token' });
  const [answer] = await gcpCall('GenerateAccessToken', context, () =>
    client.generateAccessToken(
      { name: nameOf(body), scope: body.scopes, lifetime: { seconds } },
      callOptions(body),
    ),
  );
  const { seconds: whole, nanos } = answer.expireTime ?? {};
  const expiresAt = new Date(Number(whole) * 1000 + Math.ceil((nanos ?? 0) / 1e6));
  if (!answer.accessToken) throw lying('no token');
  // Written so that an invalid date is a lie as well.
  if (!(expiresAt.getTime() <= end)) throw lying('a longer life than asked for');
  const token = new Secret(answer.accessToken);
  const credential = body.access === 'gcp.token' ? token : await downscope(minting, token, body.options);
  return { credential, expiresAt, keyHash: null };
}

/** The wider token is made by now and lives until its end, held by nobody: whatever fails here has had an effect. */
async function downscope(
  { provider, context }: Minting,
  token: Secret<string>,
  options: string,
): Promise<Secret<string>> {
  const form = downscopingForm({ accessToken: token.reveal(), options });
  try {
    const narrowed = await exchangeToken(stsEndpoint(provider), form, context);
    if (narrowed.access_token === token.reveal()) throw lying('the token that was to be narrowed');
    return new Secret(narrowed.access_token);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { reason, detail } = error;
    throw new Fault(reason, { effect: 'unknown', ...(detail === undefined ? {} : { detail }) });
  }
}

function nameOf({ serviceAccount }: GcpBody): string {
  return `projects/-/serviceAccounts/${serviceAccount}`;
}

/** The issuance goes into Google's audit log as the reason of the request; where nothing else says what for, that too. */
function callOptions(body: GcpBody) {
  const reason = body.access === 'gcp.token' ? `${body.issuance} for ${body.meantFor}` : body.issuance;
  return {
    timeout: answerTimeoutMs,
    retry: { retryCodes: [] },
    otherArgs: { headers: { 'x-goog-request-reason': reason } },
  };
}
