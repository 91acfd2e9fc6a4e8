import { generateKeyPairSync, sign } from 'node:crypto';
import { Storage } from '@google-cloud/storage';
import { expect, test } from '@jest/globals';
import { objectRequest } from '../../test/gcp-cloud.ts';
import { planGcp } from './plan.ts';
import { signedUrl, stringToSign } from './signed-url.ts';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const storage = new Storage({
  projectId: 'acme-prod',
  credentials: {
    client_email: 'finance@acme-prod.iam.gserviceaccount.com',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  },
});

// The library signs nothing that is past.
const now = new Date(Math.floor(Date.now() / 1000) * 1000);
const notAfter = new Date(now.getTime() + 60_000);

const actions = [
  ['read', 'read', {}],
  ['create', 'write', { 'x-goog-if-generation-match': '0' }],
  ['write', 'write', {}],
  ['delete', 'delete', {}],
] as const;
const names = ['2026q3/a.pdf', 'å b/(1)+~!%2F=&$@:;.pdf', 'x'];

test.each(actions.flatMap((action) => names.map((name) => [...action, name] as const)))(
  '%s is signed byte for byte as Google’s own library signs it (%s, %j): %s',
  async (action, libraryAction, extensionHeaders, name) => {
    // RSA-SHA256 of PKCS #1 is deterministic: whole URLs can be compared.
    const { body } = planGcp(
      objectRequest({ actions: [action], identifier: `gs://invoices/${name}`, now, notAfter }),
    );
    const canonical = String(body['canonicalRequest']);
    const signature = sign('sha256', Buffer.from(stringToSign(canonical)), privateKey);
    const [theirs] = await storage
      .bucket('invoices')
      .file(name)
      .getSignedUrl({
        version: 'v4',
        action: libraryAction,
        accessibleAt: now,
        expires: notAfter,
        extensionHeaders,
        queryParams: { 'x-mayfly-issuance': String(body['issuance']) },
      });
    expect(signedUrl('https://storage.googleapis.com', canonical, signature)).toBe(theirs);
  },
);
