import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';

/** One more type of caller, measured beside the plain exchange in the same run. */
export interface Caller {
  readonly name: 'kubernetes' | 'spiffe' | 'github' | 'gitlab';
  /** Once-only, so that each exchange needs an assertion of its own. */
  readonly once: boolean;
  readonly keys: object;
  readonly document: (keyFile: string) => string;
  readonly workload: { readonly issuer: string; readonly match: Readonly<Record<string, string>> };
  make(): string;
}

const lifeSeconds = 3_500;
const now = () => Math.floor(Date.now() / 1000);

/** Tokens as the platforms sign them: RS256 everywhere but at SPIRE. */
export function createCallers(audience: string): readonly Caller[] {
  const rsa = signer('RS256');
  const ec = signer('ES256');
  const times = () => ({ aud: audience, iat: now(), exp: now() + lifeSeconds });
  const issuer = (type: string, iss: string, subjects: string, more: string) => (file: string) =>
    `---\napiVersion: mayfly/v1\nkind: TrustedIssuer\nmetadata: { name: ${type} }\nspec:\n  type: ${type}\n  issuer: ${iss}\n  ${more}: ${file}\n  subjects: ["${subjects}"]\n`;
  const github = 'https://token.actions.githubusercontent.com';
  return [
    {
      name: 'kubernetes',
      once: false,
      keys: rsa.jwks,
      document: issuer(
        'kubernetes',
        'https://k8s.bench.example',
        'system:serviceaccount:bench:*',
        'jwksFile',
      ),
      workload: { issuer: 'kubernetes', match: { 'serviceaccount.uid': '0000-1' } },
      make: () =>
        rsa.sign({
          ...times(),
          aud: [audience],
          iss: 'https://k8s.bench.example',
          sub: 'system:serviceaccount:bench:agent',
          nbf: now(),
          jti: randomUUID(),
          'kubernetes.io': {
            namespace: 'bench',
            serviceaccount: { name: 'agent', uid: '0000-1' },
            pod: { name: 'agent-1', uid: '0000-2' },
          },
        }),
    },
    {
      name: 'spiffe',
      once: false,
      keys: { keys: ec.jwks.keys.map((key) => ({ ...key, use: 'jwt-svid' })) },
      document: issuer('spiffe', 'spiffe://bench.example', 'spiffe://bench.example/**', 'bundleFile'),
      workload: { issuer: 'spiffe', match: { sub: 'spiffe://bench.example/agent' } },
      make: () => ec.sign({ ...times(), sub: 'spiffe://bench.example/agent' }),
    },
    {
      name: 'github',
      once: true,
      keys: rsa.jwks,
      document: issuer('github', github, 'repo:acme/*:ref:refs/heads/main', 'jwksFile'),
      workload: { issuer: 'github', match: { repository_id: '74', repository_owner_id: '65' } },
      make: () =>
        rsa.sign({
          ...times(),
          iss: github,
          sub: 'repo:acme/app:ref:refs/heads/main',
          jti: randomUUID(),
          ...{ repository_id: '74', repository_owner_id: '65', repository: 'acme/app', event_name: 'push' },
          ...{ ref: 'refs/heads/main', run_id: '1', run_attempt: '1', runner_environment: 'github-hosted' },
        }),
    },
    {
      name: 'gitlab',
      once: true,
      keys: rsa.jwks,
      document: issuer(
        'gitlab',
        'https://gitlab.bench.example',
        'project_path:acme/*:ref_type:branch:ref:main',
        'jwksFile',
      ),
      workload: { issuer: 'gitlab', match: { project_id: '20', ref: 'main', ref_protected: 'true' } },
      make: () =>
        rsa.sign({
          ...times(),
          iss: 'https://gitlab.bench.example',
          sub: 'project_path:acme/app:ref_type:branch:ref:main',
          jti: randomUUID(),
          ...{ project_id: '20', namespace_id: '72', ref: 'main', ref_type: 'branch', ref_protected: 'true' },
          ...{ pipeline_source: 'push', pipeline_id: '1', job_id: '1' },
        }),
    },
  ];
}

/** A template for each, with the tool token of the plain exchange, so that only the assertion differs. */
export function callerDocuments(callers: readonly Caller[], keyFileOf: (caller: Caller) => string): string {
  return callers
    .map((caller) => {
      const { name, document, workload } = caller;
      return `${document(keyFileOf(caller))}---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: bench-${name}, owner: bench }
spec:
  workloads: [${JSON.stringify(workload)}]
  task: { maxDuration: 1h, lease: 30m }
  grants:
    - name: report
      tool: report.post
      resource: "https://reports.example/**"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]
`;
    })
    .join('');
}

/** DPoP proofs, each with a jti of its own, by a handful of keys as agents have them. */
export function createProofs(url: string): () => string {
  const keys = Array.from({ length: 16 }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  const heads = keys.map(({ publicKey }) =>
    encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicKey.export({ format: 'jwk' }) }),
  );
  let at = 0;
  return () => {
    at = (at + 1) % keys.length;
    const claims = { jti: randomUUID(), htm: 'POST', htu: url, iat: now() };
    const { privateKey } = keys[at] ?? {};
    if (privateKey === undefined) throw new RangeError('no key');
    return signed(`${heads[at]}.${encode(claims)}`, privateKey);
  };
}

function signer(alg: 'ES256' | 'RS256') {
  const { privateKey, publicKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = publicKey.export({ format: 'jwk' });
  const kid = createHash('sha256').update(JSON.stringify(jwk)).digest('hex').slice(0, 16);
  const head = encode({ alg, kid, typ: 'JWT' });
  return {
    jwks: { keys: [{ ...jwk, kid, alg }] },
    sign: (claims: object) => signed(`${head}.${encode(claims)}`, privateKey),
  };
}

export function signed(input: string, key: KeyObject): string {
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

export function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
