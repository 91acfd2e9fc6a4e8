import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { Request } from 'express';
import { cidrList } from '../net.ts';
import { clientCertificate } from './certificate.ts';

/** Self-signed, P-256, made once for this test; it opens nothing. */
const pem = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUSzu7ZWnHBfHYRPEDBycNYPLdvXgwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFYWdlbnQwIBcNMjYxMTI0MjM0NzM4WhgPMjEyNjEwMzEyMzQ3
MzhaMBAxDjAMBgNVBAMMBWFnZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
9pgakdTFdqTqiJIg+I5N+H4RhPSDzM5rgzqptuC6vpfkgHNFsoXzdw8kD3mmXlFc
MI/prW7QppAqhhOWZ41+eaNTMFEwHQYDVR0OBBYEFI0qPzfGFRwwnUtVe1zEE28Z
3ErOMB8GA1UdIwQYMBaAFI0qPzfGFRwwnUtVe1zEE28Z3ErOMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgHS/8IRiCD2MJX+HEpEoLSDpXqVCwqmIG
0DKErHz3754CIQCHiGBYbWs8lpubU4g2NAkeYNVaUdTO3NXVpD8ki26w9A==
-----END CERTIFICATE-----`;
const der = Buffer.from(pem.replace(/-----[A-Z ]+-----|\n/g, ''), 'base64');
const thumbprint = createHash('sha256').update(der).digest('base64url');
const options = { fromSocket: false, header: 'client-cert', proxies: cidrList(['10.0.0.0/8']) };

function request(
  headers: Record<string, string | string[]>,
  remoteAddress = '10.1.2.3',
  socket = {},
): Request {
  const headersDistinct = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, [value].flat()]),
  );
  return { headersDistinct, socket: { remoteAddress, ...socket } } as unknown as Request;
}

test.each([
  ['RFC 9440', `:${der.toString('base64')}:`],
  ['percent-encoded PEM', encodeURIComponent(pem)],
])('a trusted proxy hands on the certificate of its client: %s', (_, value) => {
  expect(clientCertificate(request({ 'client-cert': value }), options)).toBe(thumbprint);
  expect(clientCertificate(request({ 'client-cert': value }, '::ffff:10.1.2.3'), options)).toBe(thumbprint);
});

test('from anybody else the header is nobody’s word', () => {
  const headers = { 'client-cert': `:${der.toString('base64')}:` };
  expect(clientCertificate(request(headers, '127.0.0.1'), options)).toBeNull();
  expect(clientCertificate(request(headers, ''), options)).toBeNull();
  expect(clientCertificate(request({ other: headers['client-cert'] }), options)).toBeNull();
  expect(clientCertificate(request(headers), { ...options, header: null })).toBeNull();
});

test('with certificates from our own socket no header counts', () => {
  const headers = { 'client-cert': `:${der.toString('base64')}:` };
  const own = { ...options, fromSocket: true };
  expect(
    clientCertificate(request(headers, '10.1.2.3', { getPeerX509Certificate: () => undefined }), own),
  ).toBeNull();
  const socket = { getPeerX509Certificate: () => ({ raw: Buffer.from('another') }) };
  expect(clientCertificate(request(headers, '10.1.2.3', socket), own)).not.toBe(thumbprint);
});

test.each([
  ['two', `:${der.toString('base64')}:, :${der.toString('base64')}:`],
  ['a second header', [`:${der.toString('base64')}:`, `:${der.toString('base64')}:`]],
  ['a second, empty header', [`:${der.toString('base64')}:`, '']],
  ['no certificate', ':AAAA:'],
  ['text', 'CN=agent'],
  ['a broken escape', '%E0%A4%A'],
  ['too much', 'x'.repeat(16_385)],
])('%s in the header refuses the request', (_, value) => {
  expect(() => clientCertificate(request({ 'client-cert': value }), options)).toThrow(
    expect.objectContaining({ name: 'Refusal', reason: 'malformed_request' }),
  );
});
