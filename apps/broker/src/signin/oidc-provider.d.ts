// oidc-provider ships no types; this names what is used of it here and by the local issuer.
declare module 'oidc-provider' {
  import type { EventEmitter } from 'node:events';
  import type { IncomingMessage, ServerResponse } from 'node:http';

  export interface Context {
    readonly req: IncomingMessage;
    readonly res: ServerResponse;
    readonly query: Readonly<Record<string, string | string[] | undefined>>;
    readonly oidc: OidcContext;
    body: unknown;
    type: string;
    get(header: string): string;
  }

  export interface OidcContext {
    readonly route: string;
    readonly issuer: string;
    readonly client?: { readonly clientId: string; readonly clientName?: string };
    readonly params?: Readonly<Record<string, unknown>>;
    readonly result?: { readonly login?: { readonly accountId: string } };
    readonly session?: Session;
    urlFor(route: string): string;
  }

  export interface Session {
    accountId?: string;
    authorizations?: object;
    readonly state?: { readonly secret?: string };
  }

  export interface Interaction {
    readonly uid: string;
    readonly returnTo: string;
    readonly params: Readonly<Record<string, unknown>>;
    readonly deviceCode?: string;
  }

  export interface Grant {
    addOIDCScope(scope: string): void;
    save(): Promise<string>;
  }

  export interface Adapter {
    upsert(id: string, payload: Readonly<Record<string, unknown>>, expiresIn: number): Promise<void>;
    find(id: string): Promise<Record<string, unknown> | undefined>;
    findByUid(uid: string): Promise<Record<string, unknown> | undefined>;
    findByUserCode(userCode: string): Promise<Record<string, unknown> | undefined>;
    destroy(id: string): Promise<void>;
    consume(id: string): Promise<void>;
    revokeByGrantId(grantId: string): Promise<void>;
  }

  export default class Provider extends EventEmitter {
    constructor(issuer: string, configuration: Readonly<Record<string, unknown>>);
    /** Believes X-Forwarded-Proto. */
    proxy: boolean;
    /** The request that is being served. */
    static readonly ctx: Context | undefined;
    readonly Grant: new (of: {
      accountId: string;
      clientId: string;
    }) => Grant;
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>;
    interactionResult(request: IncomingMessage, response: ServerResponse, result: object): Promise<string>;
    interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>;
  }

  type ErrorClass = new (detail?: string) => Error;
  export const errors: {
    readonly InvalidGrant: ErrorClass;
    readonly InvalidRequest: ErrorClass;
    readonly SessionNotFound: ErrorClass;
  };

  export const interactionPolicy: {
    readonly Check: new (reason: string, says: string, check: (context: Context) => boolean) => object;
    readonly Prompt: new (of: { name: string; requestable: boolean }, check: object) => object;
  };
}
