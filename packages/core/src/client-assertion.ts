import { attestAssertion, type Caller, callerName } from './attest.ts';
import { Refusal } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import { provesKey } from './proof.ts';
import type { PolicySet } from './template.ts';
import { type Workload, workloadName } from './workload.ts';

/** `client_assertion` (RFC 7521 section 4.2) as it stands in the form; nothing in it is proven yet. */
export interface ClientAssertion {
  readonly token: string;
  /** Sent as a SPIFFE JWT-SVID (draft-ietf-oauth-spiffe-client-auth). */
  readonly spiffe: boolean;
  readonly clientId: string | null;
}

/**
 * Client authentication proves nothing that the subject does not, so it may only agree: the same workload, or a
 * Refusal. It is an assertion like any other, but is not used up by it: what opens or mints is the subject.
 */
export async function proveClient(
  claimed: ClientAssertion | null,
  caller: Caller,
  context: {
    policy: PolicySet;
    ports: Pick<ExchangePorts, 'attestor' | 'issuerOf' | 'deadline'>;
    now: Date;
  },
): Promise<void> {
  if (claimed === null) return;
  const client = await attestClient(claimed.token, context);
  const name = workloadName(client);
  if (name !== caller.name && name !== callerName(caller))
    throw refusal('another workload than subject and actor');
  if (!provesKey(caller.confirmation, client.confirmation ?? null))
    throw refusal('bound to a key that was not proven');
  if (claimed.spiffe && !client.subject.startsWith('spiffe://')) throw refusal('no SPIFFE ID');
  // RFC 7521 section 4.2: client_id is not needed, and must not name somebody else.
  const { clientId } = claimed;
  if (clientId !== null && clientId !== name && clientId !== client.subject)
    throw refusal('another client_id');
}

async function attestClient(
  token: string,
  context: Parameters<typeof attestAssertion>[1],
): Promise<Workload> {
  try {
    return await attestAssertion(token, context);
  } catch (error) {
    if (error instanceof Refusal) throw refusal(error.detail ?? error.reason);
    throw error;
  }
}

function refusal(detail: string): Refusal {
  return new Refusal('client_assertion_invalid', { detail });
}
