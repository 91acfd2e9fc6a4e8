import type { Config } from '../config.ts';

/** The command line: device flow only. */
export const cliClient = 'mayfly-cli';
/** The console in a browser: code and PKCE, at the configured redirect URIs only. */
export const consoleClient = 'mayfly-console';

export const grantTypeCode = 'authorization_code';
export const grantTypeDevice = 'urn:ietf:params:oauth:grant-type:device_code';

export interface Client {
  readonly id: string;
  readonly name: string;
  readonly grantType: typeof grantTypeCode | typeof grantTypeDevice;
  readonly redirectUris: readonly string[];
}

/** All clients that there are: public ones, known beforehand. Nobody registers one. */
export function clientsOf({ signInRedirectUris }: Pick<Config, 'signInRedirectUris'>): readonly Client[] {
  const cli: Client = {
    id: cliClient,
    name: 'The mayfly command line',
    grantType: grantTypeDevice,
    redirectUris: [],
  };
  if (signInRedirectUris.length === 0) return [cli];
  const browser: Client = {
    id: consoleClient,
    name: 'The Mayfly console',
    grantType: grantTypeCode,
    redirectUris: signInRedirectUris,
  };
  return [cli, browser];
}

export function nameOf(clients: readonly Client[], id: unknown): string {
  return clients.find((client) => client.id === id)?.name ?? 'An unknown client';
}
