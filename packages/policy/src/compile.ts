import {
  compilePattern,
  type DeviationRules,
  type GrantSpec,
  type Opener,
  type Pattern,
  type PolicySet,
  type Provider,
  type ResourceServer,
  type RoleBinding,
  type SubjectMatch,
  type Template,
  type TrustedIssuer,
} from '@mayfly/core';
import { parseSeconds } from './documents/common.ts';
import {
  type AnyDocument,
  type DocumentOf,
  isDocumentOf,
  isKind,
  type Kind,
  kinds,
} from './documents/kinds.ts';
import { keptClaims } from './documents/trusted-issuer.ts';
import { compileParam } from './params.ts';

/** A stored document with its version. */
export interface VersionedDocument {
  readonly version: number;
  readonly document: AnyDocument;
}

export interface CompileContext {
  /** Default audience of a TrustedIssuer. */
  readonly brokerIssuer: string;
}

/** The provider that exists without a document. */
export const tokenProvider: Provider = { name: 'token', type: 'token', spec: {} };

/** Everything that decides, from the documents in force. Throws where a document is not one that `parse` accepts. */
export function compileDocuments(
  documents: readonly VersionedDocument[],
  context: CompileContext,
): Omit<PolicySet, 'epoch' | 'freezes'> {
  const of = <K extends Kind>(kind: K) =>
    documents.flatMap(({ version, document }) =>
      isDocumentOf(document, kind) ? [{ version, document }] : [],
    );
  const issuers = unambiguous(
    of('TrustedIssuer').map(({ document }) => compileTrustedIssuer(document, context)),
  );
  const templates = of('GrantTemplate').map(({ document, version }) => compileTemplate(document, version));
  const providers = [tokenProvider, ...of('Provider').map(({ document }) => compileProvider(document))];
  const servers = of('ResourceServer').map(({ document }) => compileServer(document));
  return {
    issuers: new Map(issuers.map((issuer) => [issuer.issuer, issuer])),
    templates: new Map(templates.map((template) => [template.name, template])),
    providers: new Map(providers.map((provider) => [provider.name, provider])),
    servers: new Map(servers.map((server) => [server.name, server])),
    bindings: of('RoleBinding').map(({ document }) => compileBinding(document)),
  };
}

// Lint refuses the second document of one `iss`; should two be in force all the same, neither decides unseen.
function unambiguous(issuers: readonly TrustedIssuer[]): readonly TrustedIssuer[] {
  return issuers.filter((one) => issuers.every((other) => other === one || other.issuer !== one.issuer));
}

/** A stored body back into its checked form; what does not parse was stored by something else, and throws. */
export function reopenDocument(body: unknown): AnyDocument {
  const kind: unknown = Reflect.get(Object(body), 'kind');
  if (typeof kind !== 'string' || !isKind(kind)) throw new TypeError('a stored document of unknown kind');
  return kinds[kind].parse(body);
}

export function compileTemplate({ metadata, spec }: DocumentOf<'GrantTemplate'>, version: number): Template {
  return {
    name: metadata.name,
    version,
    owner: metadata.owner ?? null,
    mode: spec.mode,
    workloads: spec.workloads.map(compileSubject),
    openers: spec.openers.map(compileOpener),
    params: Object.fromEntries(
      Object.entries(spec.params).map(([name, param]) => [name, compileParam(param)]),
    ),
    task: {
      maxDurationSeconds: parseSeconds(spec.task.maxDuration),
      leaseSeconds: parseSeconds(spec.task.lease),
      maxOpen: spec.task.maxOpen ?? null,
      opensPerHour: spec.task.opensPerHour ?? null,
      refClaims: spec.task.ref?.claims ?? [],
      children: spec.task.children ?? null,
    },
    delegation: {
      actor: spec.delegation.actor,
      actors: spec.delegation.actors.map(compileSubject),
    },
    deviation: compileDeviation(spec.deviation),
    onChange: spec.onChange,
    sources: (spec.signals?.from ?? []).map(compileSubject),
    grants: spec.grants.map((grant) => compileGrant(grant, spec)),
  };
}

function compileDeviation({
  refused,
  refusedEffects = {},
  heartbeatLost = 'end',
  budgetSpent,
  useOutsideGrant,
  quarantine,
}: TemplateSpec['deviation'] = {}): DeviationRules {
  return {
    refused:
      refused === undefined
        ? null
        : { after: refused.after, withinSeconds: parseSeconds(refused.within), act: refused.do },
    refusedEffects,
    heartbeatLost,
    budgetSpent: budgetSpent ?? null,
    useOutsideGrant: useOutsideGrant ?? null,
    quarantineSeconds: quarantine === undefined ? null : parseSeconds(quarantine),
  };
}

type TemplateSpec = DocumentOf<'GrantTemplate'>['spec'];
type GrantDocument = TemplateSpec['grants'][number];

/** Longest and usual life of a grant that says nothing itself. */
const ttlFallback = '60s';

/** The grant's own ttl, else that of `defaults`, else 60 s; the default never exceeds the maximum. */
export function ttlOf(
  grant: GrantDocument,
  spec: TemplateSpec,
): { defaultSeconds: number; maxSeconds: number } {
  const shared = spec.defaults?.ttl;
  const max = grant.ttl?.max ?? grant.ttl?.default ?? shared?.max ?? shared?.default ?? ttlFallback;
  const usual =
    grant.ttl?.default ?? (grant.ttl?.max === undefined ? shared?.default : undefined) ?? ttlFallback;
  const maxSeconds = parseSeconds(max);
  return { defaultSeconds: Math.min(parseSeconds(usual), maxSeconds), maxSeconds };
}

function compileGrant(grant: GrantDocument, spec: TemplateSpec): GrantSpec {
  const { name, tool, resource, mint, actions, effects, data, endsWithin, budget, proof } = grant;
  return {
    name,
    tool,
    resource,
    provider: mint.provider,
    access: mint.access ?? 'token',
    mint: { ...mint },
    actions,
    effects,
    data,
    ttl: ttlOf(grant, spec),
    endsWithinSeconds: endsWithin === undefined ? null : parseSeconds(endsWithin),
    budget: { exchanges: budget.exchanges ?? null, perMinute: budget.perMinute ?? null },
    proof,
  };
}

export function compileTrustedIssuer(
  { metadata, spec }: DocumentOf<'TrustedIssuer'>,
  { brokerIssuer }: CompileContext,
): TrustedIssuer {
  return {
    name: metadata.name,
    type: spec.type,
    issuer: spec.issuer,
    audience: spec.audience ?? brokerIssuer,
    jwksUri: spec.jwksUri ?? null,
    jwksFile: spec.jwksFile ?? null,
    bundleUrl: spec.bundleUrl ?? null,
    bundleFile: spec.bundleFile ?? null,
    caFile: spec.caFile ?? null,
    tokenFile: spec.tokenFile ?? null,
    tokenReview: compileTokenReview(spec),
    pullRequests: spec.pullRequests ?? 'refuse',
    algorithms: spec.algorithms,
    subjects: spec.subjects.map(compiled),
    claims: [...new Set([...keptClaims[spec.type], ...spec.claims])],
    maxLifetimeSeconds: parseSeconds(spec.maxLifetime),
    replay: spec.replay,
    people: spec.people,
    events: compileEvents(spec, brokerIssuer),
  };
}

function compileEvents(
  { events, issuer }: DocumentOf<'TrustedIssuer'>['spec'],
  brokerIssuer: string,
): TrustedIssuer['events'] {
  if (events === undefined) return null;
  return {
    transmitter: events.transmitter ?? issuer,
    audience: events.audience ?? brokerIssuer,
    algorithms: events.algorithms,
    jwksUri: events.jwksUri ?? null,
    jwksFile: events.jwksFile ?? null,
    caFile: events.caFile ?? null,
    endsPerMinute: events.endsPerMinute,
  };
}

/** Where Kubernetes mounts the token of a pod's own service account. */
const ownToken = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Authority and token are those of the issuer unless the review names others; the token at last the broker's own. */
function compileTokenReview(spec: DocumentOf<'TrustedIssuer'>['spec']): TrustedIssuer['tokenReview'] {
  const review = spec.tokenReview;
  if (review === undefined) return null;
  return {
    server: review.server.replace(/\/$/, ''),
    caFile: review.caFile ?? spec.caFile ?? null,
    tokenFile: review.tokenFile ?? spec.tokenFile ?? ownToken,
  };
}

export function compileProvider({ metadata, spec }: DocumentOf<'Provider'>): Provider {
  return { name: metadata.name, type: spec.type, spec: { ...spec } };
}

export function compileServer({ metadata, spec }: DocumentOf<'ResourceServer'>): ResourceServer {
  const { audience, verification, signingAlgorithm, cacheSeconds, subjects } = spec;
  return {
    name: metadata.name,
    audience,
    verification,
    signingAlgorithm,
    cacheSeconds,
    subjects: subjects.map(compileSubject),
  };
}

export function compileBinding({ metadata, spec }: DocumentOf<'RoleBinding'>): RoleBinding {
  return {
    name: metadata.name,
    roles: spec.roles,
    subjects: spec.subjects.map(compileSubject),
    scope: {
      templates: spec.scope?.templates?.map(compiled) ?? null,
      providers: spec.scope?.providers?.map(compiled) ?? null,
    },
  };
}

function compileOpener(opener: TemplateSpec['openers'][number]): Opener {
  if (opener === 'self') return { kind: 'self' };
  if ('role' in opener) return { kind: 'role', role: opener.role };
  return { kind: 'subject', subject: compileSubject(opener) };
}

interface SubjectDocument {
  readonly issuer: string;
  readonly match: Readonly<Record<string, string | readonly string[]>>;
  readonly bind?: readonly string[] | undefined;
}

function compileSubject({ issuer, match, bind = [] }: SubjectDocument): SubjectMatch {
  const entries = Object.entries(match).map(([claim, value]) => {
    const values = typeof value === 'string' ? [value] : value;
    return [claim, values.map(compiled)] as const;
  });
  return { issuerName: issuer, match: Object.fromEntries(entries), bind };
}

function compiled(text: string): Pattern {
  const pattern = compilePattern(text);
  if ('problem' in pattern) throw new TypeError(pattern.problem);
  return pattern;
}
