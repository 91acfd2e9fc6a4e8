import { createPrivateKey, type KeyObject } from 'node:crypto';
import { Fault } from '@mayfly/core';
import { SignJWT } from 'jose';
import type { MinterServices } from '../services.ts';

/** GitHub takes no more than ten minutes; one call needs none of them. */
const assertionSeconds = 60;
/** GitHub advises to date it back, or a clock that is ahead is refused. */
const assertionBackSeconds = 30;
export function headersWith(bearer: string): Readonly<Record<string, string>> {
  const accept = 'application/vnd.github+json';
  return { accept, authorization: `Bearer ${bearer}`, 'x-github-api-version': '2022-11-28' };
}

export async function keyOf(provider: string, { files }: MinterServices): Promise<KeyObject> {
  try {
    const pem = await files?.privateKey(provider);
    if (pem !== undefined) return createPrivateKey(pem);
  } catch {
    // What was wrong with it could hold a part of it.
  }
  throw new Fault('provider_unavailable', {
    effect: 'none',
    detail: `no private key for provider ${provider} (providerKeys)`,
  });
}

export function signApp(appId: string, key: KeyObject, now: Date): Promise<string> {
  const seconds = Math.floor(now.getTime() / 1000);
  return new SignJWT({
    iss: appId,
    iat: seconds - assertionBackSeconds,
    exp: seconds + assertionSeconds,
  })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .sign(key);
}
