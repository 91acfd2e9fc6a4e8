import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import express from 'express';
import { createLocalJWKSet, jwtVerify, SignJWT } from 'jose';

/**
 * What one event loop could do at best: an express route that verifies the assertion and signs an answer with the same
 * library, and does nothing else. Prints its origin; ends with its parent's standard input.
 */
const [jwksFile = '', audience = ''] = process.argv.slice(2);
const keys = createLocalJWKSet(JSON.parse(readFileSync(jwksFile, 'utf8')));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const app = express();
app.use(express.text({ type: 'application/x-www-form-urlencoded' }));
app.post('/token', async (request, response) => {
  const form = new URLSearchParams(String(request.body));
  const { payload } = await jwtVerify(form.get('subject_token') ?? '', keys, { audience });
  const token = await new SignJWT({ sub: payload.sub ?? '', details: form.get('authorization_details') })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
    .setIssuedAt()
    .setExpirationTime('60s')
    .sign(privateKey);
  response.json({ access_token: token, token_type: 'Bearer', expires_in: 60 });
});
const server = app.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`READY http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
