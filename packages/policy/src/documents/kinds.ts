import type { z } from 'zod';
import { grantTemplate } from './grant-template.ts';
import { provider } from './provider/provider.ts';
import { resourceServer } from './resource-server.ts';
import { roleBinding } from './role-binding.ts';
import { trustedIssuer } from './trusted-issuer.ts';

/** Every kind that can be applied. Reading order is also the order of application. */
export const kinds = {
  TrustedIssuer: trustedIssuer,
  Provider: provider,
  ResourceServer: resourceServer,
  GrantTemplate: grantTemplate,
  RoleBinding: roleBinding,
} as const satisfies Record<string, z.ZodType>;

export type Kind = keyof typeof kinds;

/** Known to the contract, later in coming. */
export const laterKinds = ['Policy', 'ApprovalRule', 'BreakGlass', 'TemplateTest'] as const;

export type DocumentOf<K extends Kind> = z.output<(typeof kinds)[K]>;
export type AnyDocument = { [K in Kind]: DocumentOf<K> }[Kind];

export function isKind(text: string): text is Kind {
  return Object.hasOwn(kinds, text);
}

export function isDocumentOf<K extends Kind>(
  document: AnyDocument,
  kind: K,
): document is AnyDocument & DocumentOf<K> {
  return document.kind === kind;
}
