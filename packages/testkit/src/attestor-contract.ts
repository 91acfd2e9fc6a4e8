import { describe, expect, test } from '@jest/globals';
import { describeClaims } from './attestor-contract/claims.ts';
import { describeForms } from './attestor-contract/forms.ts';
import { describeKeys } from './attestor-contract/keys.ts';
import { AttestorScene, type AttestorUnderTest } from './attestor-contract/scene.ts';

export type { AttestorUnderTest, GoldenToken } from './attestor-contract/scene.ts';

/** Claims that every attestor holds (standards.md B4, F2-F8, P), about tokens that differ from a golden one. */
export function describeAttestor(name: string, subject: AttestorUnderTest): void {
  describe(name, () => {
    const scene = (more?: ConstructorParameters<typeof AttestorScene>[1]) => new AttestorScene(subject, more);

    test('the golden token says who its workload is', async () => {
      const { golden } = subject;
      const { issuer, now } = scene();
      expect(golden.source).toMatch(/^https:\/\//);
      const workload = await scene().attest(scene().token());
      expect(workload).toEqual({
        issuer: golden.issuer.issuer,
        issuerName: 'golden',
        subject: golden.payload['sub'],
        claims: { ...golden.claims, sub: golden.payload['sub'] },
        assertionId: expect.stringMatching(/^[0-9a-f]{64}$/),
        assertionExpiresAt: new Date(Number(golden.payload['exp']) * 1000),
        ...(golden.payload['iat'] === undefined
          ? {}
          : { assertionIssuedAt: new Date(Number(golden.payload['iat']) * 1000) }),
        replay: issuer.replay,
        people: false,
      });
      expect(workload.assertionExpiresAt.getTime()).toBeGreaterThan(now.getTime());
    });

    describe('forms', () => describeForms(scene));
    describe('claims', () => describeClaims(scene));
    describe('keys', () => describeKeys(scene));
  });
}
