import { type Case, expectRefused } from '../case.ts';
import { type AssertionWishes, type Claims, newKey, type Suite } from '../suite.ts';

type Platform = 'spiffe' | 'kubernetes' | 'github' | 'gitlab';

/** A good token of the platform, changed as wished; the descriptor of the profile has its name. */
async function ask(suite: Suite, platform: Platform, wishes: AssertionWishes = {}) {
  const issuer = suite.profile.issuers[platform];
  if (issuer === undefined) throw new Error(`the profile has no issuer ${platform}`);
  const own = suite.profile.platformClaims[platform] ?? {};
  const token = await suite.assertion({ issuer, ...wishes, claims: { ...own, ...wishes.claims } });
  return { token, detail: platform };
}

async function taken(suite: Suite, platform: Platform, wishes: AssertionWishes = {}): Promise<void> {
  await suite.issued(await ask(suite, platform, wishes));
}

async function refused(suite: Suite, platform: Platform, claims: Claims): Promise<void> {
  expectRefused(await suite.exchange(await ask(suite, platform, { claims })), 'invalid_request');
}

const svid = 'JWT-SVID';
/** SPIRE promises neither. */
const without = ['iss', 'iat', 'jti'];

/** P. Tokens of platforms. */
export const platformCases: readonly Case[] = [
  {
    id: 'P1',
    rule: 'a JWT-SVID is taken without iss and iat, with typ JWT, JOSE or none',
    source: `${svid} sections 2 and 3`,
    must: 'MUST',
    needs: ['spiffe'],
    run: async (suite) => {
      for (const typ of ['JWT', 'JOSE', undefined])
        await taken(suite, 'spiffe', { header: { typ }, without });
    },
  },
  {
    id: 'P1.b',
    rule: 'a JWT-SVID of another trust domain is refused, also by a key of ours',
    source: `${svid} section 4`,
    must: 'MUST',
    needs: ['spiffe'],
    run: async (suite) => {
      for (const sub of ['spiffe://elsewhere.example/agent', 'https://elsewhere.example/agent'])
        await refused(suite, 'spiffe', { sub });
    },
  },
  {
    id: 'P1.c',
    rule: 'a JWT-SVID needs exp',
    source: `${svid} section 3`,
    must: 'MUST',
    needs: ['spiffe'],
    run: async (suite) => {
      const wishes = await ask(suite, 'spiffe', { without: [...without, 'exp'] });
      expectRefused(await suite.exchange(wishes), 'invalid_request');
    },
  },
  {
    id: 'P1.d',
    rule: 'a key of the bundle for another use signs no JWT-SVID',
    source: `${svid} section 6`,
    must: 'MUST',
    needs: ['spiffe'],
    run: async (suite) => {
      const { otherUseKey = newKey() } = suite.profile.issuers.spiffe ?? {};
      const wishes = await ask(suite, 'spiffe', { without, key: otherUseKey });
      expectRefused(await suite.exchange(wishes), 'invalid_request');
    },
  },
  {
    id: 'P2',
    rule: 'a projected token of a Kubernetes service account is taken, its audience a list of one',
    source: 'Kubernetes service account tokens',
    must: 'MUST',
    needs: ['kubernetes'],
    run: async (suite) => {
      const { audience } = suite.profile.issuers.kubernetes ?? {};
      await taken(suite, 'kubernetes', { claims: { aud: [audience] } });
    },
  },
  {
    id: 'P2.b',
    rule: 'a token kept in a Secret, which never expires, is refused',
    source: 'Kubernetes service account tokens',
    must: 'MUST',
    needs: ['kubernetes'],
    run: async (suite) => {
      const wishes = await ask(suite, 'kubernetes', { without: ['exp', 'iat'] });
      expectRefused(await suite.exchange(wishes), 'invalid_request');
      await refused(suite, 'kubernetes', { 'kubernetes.io/serviceaccount/namespace': 'conformance' });
    },
  },
  {
    id: 'P2.c',
    rule: 'the account is matched by its uid, and sub must name the same account',
    source: 'Kubernetes service account tokens',
    must: 'MUST',
    needs: ['kubernetes'],
    run: async (suite) => {
      const own = Object(suite.profile.platformClaims['kubernetes']?.['kubernetes.io']);
      const serviceaccount = { ...own.serviceaccount, uid: 'conformance-another' };
      await refused(suite, 'kubernetes', { 'kubernetes.io': { ...own, serviceaccount } });
      await refused(suite, 'kubernetes', { 'kubernetes.io': { ...own, namespace: 'conformance-another' } });
    },
  },
  {
    id: 'P3',
    rule: 'a job of GitHub Actions is taken, and matched by the ids of repository and owner',
    source: 'GitHub OIDC reference',
    must: 'MUST',
    needs: ['github'],
    run: async (suite) => {
      await taken(suite, 'github');
      for (const name of ['repository_id', 'repository_owner_id'])
        await refused(suite, 'github', { [name]: '1' });
    },
  },
  {
    id: 'P3.b',
    rule: 'a job of a pull request is refused',
    source: 'GitHub OIDC reference',
    must: 'MUST',
    needs: ['github'],
    run: async (suite) => {
      for (const event_name of ['pull_request', 'pull_request_target'])
        await refused(suite, 'github', { event_name });
    },
  },
  {
    id: 'P4',
    rule: 'a job of GitLab CI is taken, and matched by project_id and ref_protected',
    source: 'GitLab ID tokens',
    must: 'MUST',
    needs: ['gitlab'],
    run: async (suite) => {
      await taken(suite, 'gitlab');
      await refused(suite, 'gitlab', { ref_protected: 'false' });
      await refused(suite, 'gitlab', { project_id: '1' });
    },
  },
  {
    id: 'P4.b',
    rule: 'a job of a merge request is refused',
    source: 'GitLab ID tokens',
    must: 'MUST',
    needs: ['gitlab'],
    run: async (suite) => {
      await refused(suite, 'gitlab', { pipeline_source: 'merge_request_event' });
    },
  },
];

export const platformUnseen = [
  {
    id: 'P1.e',
    why: 'that EdDSA signs no JWT-SVID needs such a key in the bundle; unit tests of the attestor have it',
  },
  { id: 'P2.d', why: 'TokenReview needs a cluster; test/e2e/attestors.test.ts has a stand-in' },
] as const;
