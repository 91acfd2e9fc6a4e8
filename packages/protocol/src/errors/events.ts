import type { ErrorRow } from './row.ts';

/** Security event tokens that are not taken (RFC 8935 section 2.4); `oauth` is the `err` of the answer. */
export const eventErrors = {
  event_malformed: {
    oauth: 'invalid_request',
    status: 400,
    says: 'The body is no security event token as RFC 8417 and SSF 1.0 describe it.',
    todo: 'Send one compact JWS of typ secevent+jwt as application/secevent+jwt, about iss_sub or opaque.',
  },
  event_issuer_unknown: {
    oauth: 'invalid_issuer',
    status: 400,
    says: 'No TrustedIssuer names this transmitter.',
    todo: 'Name it in spec.events of the TrustedIssuer that it speaks for.',
  },
  event_audience_wrong: {
    oauth: 'invalid_audience',
    status: 400,
    says: 'The event is meant for another receiver.',
    todo: 'Let the stream have the audience of spec.events, which is the issuer of this broker unless it says another.',
  },
  event_key_unknown: {
    oauth: 'invalid_key',
    status: 400,
    says: 'The transmitter publishes no key for this event, or the algorithm is not accepted.',
    todo: 'Publish the key before it signs; accept the algorithm in spec.events.algorithms.',
  },
  event_not_authentic: {
    oauth: 'authentication_failed',
    status: 400,
    says: 'The signature of the event is not that of its transmitter.',
    todo: 'Send the token as it was signed.',
  },
  event_subject_foreign: {
    oauth: 'access_denied',
    status: 400,
    says: 'The transmitter may not speak about this subject.',
    todo: 'Only subjects of the TrustedIssuer that names the transmitter, within its subjects.',
  },
} as const satisfies Record<string, ErrorRow>;
