import { X509Certificate } from 'node:crypto';
import { type Case, check, expectIssued, expectRefused } from '../case.ts';
import { at, claimsOf, readCertificate, type Suite, textOf, thumbprint, tokenType } from '../suite.ts';

/** The server asks for either proof in one word of its own; both codes are in use for a missing certificate. */
const refusals = ['invalid_request', 'invalid_dpop_proof', 'invalid_client'];

function certificateOf({ profile }: Suite): X509Certificate {
  const [files] = profile.mtls?.clients ?? [];
  if (files === undefined) throw new Error('the profile has no mtls.clients');
  return new X509Certificate(readCertificate(files).cert);
}

/** Headers in which proxies of several makes hand on a certificate. */
function headersWith(certificate: X509Certificate): readonly Record<string, string>[] {
  const der = certificate.raw.toString('base64');
  const pem = encodeURIComponent(certificate.toString());
  return [
    { 'client-cert': `:${der}:` },
    { 'x-client-cert': pem },
    { 'ssl-client-cert': pem },
    { 'x-ssl-client-cert': pem },
    { 'x-forwarded-client-cert': `Cert="${pem}"` },
    { 'x-amzn-mtls-clientcert': pem },
  ];
}

/** E. Certificates of clients (RFC 8705). */
export const certificateCases: readonly Case[] = [
  {
    id: 'E1',
    rule: 'a token for a client certificate holds cnf.x5t#S256 of it',
    source: 'RFC 8705 section 3.1',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      const answer = expectIssued(await suite.exchange({ detail: 'mtls', wire: suite.tls(0) }));
      const expected = thumbprint(certificateOf(suite).raw);
      check(answer, at(claimsOf(answer), 'cnf', 'x5t#S256') === expected, 'cnf.x5t#S256 of the certificate');
    },
  },
  {
    id: 'E1.b',
    rule: 'without the certificate that a grant demands nothing is given',
    source: 'RFC 8705 section 3',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      expectRefused(await suite.exchange({ detail: 'mtls', wire: suite.tls(null) }), refusals);
      expectRefused(await suite.exchange({ detail: 'mtls' }), refusals);
    },
  },
  {
    id: 'E1.d',
    rule: 'an assertion that its issuer bound to a certificate is taken over its connection alone',
    source: 'RFC 8705 section 3.1',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      const cnf = { 'x5t#S256': thumbprint(certificateOf(suite).raw) };
      const bound = () => suite.assertion({ claims: { cnf } });
      for (const client of [null, 1] as const) {
        const answer = await suite.exchange({ token: await bound(), wire: suite.tls(client) });
        expectRefused(answer, refusals);
      }
      expectIssued(await suite.exchange({ token: await bound(), wire: suite.tls(0) }));
    },
  },
  {
    id: 'E2',
    rule: 'a certificate in a header is nobody’s word where no proxy is trusted',
    source: 'RFC 9440 section 4',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      for (const headers of headersWith(certificateOf(suite)))
        for (const wire of [{ wire: suite.tls(null) }, {}])
          expectRefused(await suite.exchange({ detail: 'mtls', headers, ...wire }), refusals);
    },
  },
  {
    id: 'E2.b',
    rule: 'a header does not replace the certificate of the connection',
    source: 'RFC 9440 section 4',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      const certificate = certificateOf(suite);
      for (const headers of headersWith(certificate)) {
        const answer = expectIssued(await suite.exchange({ detail: 'mtls', headers, wire: suite.tls(1) }));
        const bound = at(claimsOf(answer), 'cnf', 'x5t#S256');
        check(answer, bound !== thumbprint(certificate.raw), 'the certificate of the connection');
      }
    },
  },
  {
    id: 'E3',
    rule: 'the metadata says tls_client_certificate_bound_access_tokens',
    source: 'RFC 8705 section 3.3',
    must: 'MUST',
    needs: ['mtls'],
    run: async (suite) => {
      const path = '/.well-known/oauth-authorization-server';
      const answer = await suite.send({ path, wire: suite.tls(null) });
      check(answer, answer.body['tls_client_certificate_bound_access_tokens'] === true, 'true');
    },
  },
  {
    id: 'E4',
    rule: 'a bound token is checked at each request of a connection',
    source: 'RFC 8705 section 3',
    must: 'MUST',
    needs: ['mtls', 'task-tokens'],
    run: async (suite) => {
      const first = expectIssued(await suite.exchange({ detail: 'mtls', wire: suite.tls(0) }));
      const token = textOf(first, 'task_token');
      const { task } = Object([first.body['authorization_details']].flat()[0]);
      const again = { token, detailMore: { task }, more: { subject_token_type: tokenType.accessToken } };
      const wire = suite.tls(1, 1);
      expectIssued(await suite.exchange({ detail: 'mtls', wire }));
      expectRefused(await suite.exchange({ detail: 'mtls', ...again, wire }), refusals);
      expectIssued(await suite.exchange({ detail: 'mtls', ...again, wire: suite.tls(0) }));
    },
  },
];

export const certificateUnseen = [
  { id: 'E1.c', why: 'that an X.509-SVID is an identity: here a certificate binds, and a JWT says who asks' },
  { id: 'E2.c', why: 'a trusted proxy is configuration; test/e2e/certificates.test.ts sets one' },
  {
    id: 'E3.b',
    why: 'mtls_endpoint_aliases are for a second name of the server; the suite names it in its profile',
  },
] as const;
