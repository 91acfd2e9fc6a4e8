import { createHash } from 'node:crypto';
import { IAMClient } from '@aws-sdk/client-iam';
import type { CallContext } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { type Connections, clientOptions, httpStatusOf } from './call.ts';
import { baseSeconds } from './plan.ts';
import { type AwsProvider, iamEndpoint, stsEndpoint } from './provider.ts';
import { assume, type Session } from './session.ts';

/** A session is not used for a call that it might not outlive. */
const marginMs = 60_000;
/** Providers whose session is remembered; the oldest goes first, and is simply made again. */
const sessionsMax = 1_000;

export interface RevokerOptions extends MinterServices {
  readonly connections: Connections;
}

/** The reaper's own identity of each Provider, apart from the minter's: it may write deny documents and nothing else. */
export class Revokers {
  readonly #options: RevokerOptions;
  /** By Provider, where it is, and role: keys of one cluster are shown to no other. */
  readonly #sessions = new Map<string, Session>();

  constructor(options: RevokerOptions) {
    this.#options = options;
  }

  /** IAM under that identity. A session that is not let in is forgotten, and the next call has a new one. */
  async run<T>(
    provider: AwsProvider,
    context: CallContext,
    call: (client: IAMClient) => Promise<T>,
  ): Promise<T> {
    const base = clientOptions(iamEndpoint(provider), provider.region, this.#options.connections);
    const role = provider.revoker?.role;
    if (role === undefined) return call(new IAMClient(base));
    const key = [provider.name, stsEndpoint(provider), iamEndpoint(provider), role].join('\n');
    const kept = this.#sessions.get(key);
    const session =
      kept !== undefined && kept.expiresAt.getTime() > context.now.getTime() + marginMs
        ? kept
        : await assumeRevoker({ provider, role }, this.#options, context);
    this.#keep(key, session);
    try {
      return await call(new IAMClient({ ...base, credentials: session.keys.reveal() }));
    } catch (error) {
      const status = httpStatusOf(error);
      if ((status === 401 || status === 403) && this.#sessions.get(key) === session)
        this.#sessions.delete(key);
      throw error;
    }
  }

  #keep(key: string, session: Session): void {
    this.#sessions.set(key, session);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > sessionsMax && oldest !== undefined) this.#sessions.delete(oldest);
  }
}

function assumeRevoker(
  { provider, role }: { readonly provider: AwsProvider; readonly role: string },
  { federation, connections }: RevokerOptions,
  context: CallContext,
): Promise<Session> {
  const digest = createHash('sha256').update(`${role}${context.now.getTime()}`).digest('hex');
  const request = {
    ...{ provider, purpose: 'revoke' as const, role, sessionName: `mayfly-reaper-${digest.slice(0, 16)}` },
    ...{ sourceIdentity: null, policy: null, durationSeconds: baseSeconds },
  };
  return assume(request, { ...context, federation, connections });
}
