import { MayflyError, type Wiring } from '@mayfly/sdk';
import type { Command } from 'commander';
import { z } from 'zod';
import { connect, end } from '../client.ts';
import { fail } from '../exit.ts';
import { dropLogin, readLogin, saveLogin } from '../logins.ts';

/** Public client of the broker for the device flow (docs/sign-in.md). */
const clientId = 'mayfly-cli';
const grantType = 'urn:ietf:params:oauth:grant-type:device_code';
/** RFC 8628 section 3.5: each `slow_down` adds this to the interval. */
const slowDownSeconds = 5;

const started = z.looseObject({
  device_code: z.string(),
  user_code: z.string(),
  verification_uri: z.url(),
  verification_uri_complete: z.url().optional(),
  expires_in: z.number().positive(),
  interval: z.number().positive().default(5),
});
const issued = z.looseObject({ access_token: z.string(), expires_in: z.number().positive() });

export function registerLogin(program: Command): void {
  const withServer = (command: Command) =>
    command.option('--server <url>', 'the broker (default: MAYFLY_SERVER)');
  withServer(
    program.command('login').description('signs you in through your organisation, by the device flow'),
  ).action((flags: { server?: string }) => login(flags));
  withServer(program.command('logout').description('ends that sign-in, here and at the broker')).action(
    (flags: { server?: string }) => logout(flags),
  );
}

async function login({ server }: { server?: string }): Promise<void> {
  const { connection } = connect(process.env, server);
  const device = started.parse(
    await post(connection, '/device_authorization', { client_id: clientId }).catch(end),
  );
  const { verification_uri: address, user_code: code } = device;
  console.error(`Open ${device.verification_uri_complete ?? address}`);
  console.error(`and compare the code: ${code}`);
  const sentAt = Date.now();
  const { access_token: token, expires_in: life } = await waitFor(connection, device).catch(end);
  const expiresAt = new Date(sentAt + life * 1000).toISOString();
  saveLogin(process.env, { server: connection.server, token, expiresAt });
  console.error(`Signed in at ${connection.server} until ${expiresAt}.`);
}

/** Polls until it is decided; what the broker says last is the end of the command. */
async function waitFor(
  connection: Wiring['connection'],
  device: z.output<typeof started>,
): Promise<z.output<typeof issued>> {
  const form = { grant_type: grantType, client_id: clientId, device_code: device.device_code };
  let seconds = device.interval;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    try {
      return issued.parse(await post(connection, '/token', form));
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error;
      if (error.reason === 'sign_in_slow_down') seconds += slowDownSeconds;
      // Whoever cannot be reached now may be in a moment; the code expires by itself.
      else if (error.reason !== 'sign_in_pending' && !error.retryable) throw error;
    }
  }
}

async function logout({ server }: { server?: string }): Promise<void> {
  const { connection } = connect(process.env, server);
  const kept = readLogin(process.env, connection.server);
  if (kept === undefined) {
    dropLogin(process.env, connection.server);
    fail(1, `not signed in at ${connection.server}`);
  }
  // Forgotten here first: a broker that is away must not keep the token on this disk.
  dropLogin(process.env, connection.server);
  await post(connection, '/revoke', { token: kept.token, client_id: clientId }).catch(end);
  console.error(`Signed out of ${connection.server}.`);
}

async function post(
  connection: Wiring['connection'],
  path: string,
  form: Readonly<Record<string, string>>,
): Promise<unknown> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const draft = async () => ({ method: 'POST', path, headers, body: new URLSearchParams(form).toString() });
  return (await connection.call(draft, { retry: 'unsent' })).body;
}
