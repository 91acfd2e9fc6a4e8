import { z } from 'zod';
import { documentOf, notBuiltMessage, oneOf } from '../common.ts';
import { awsEndpoints, awsProvider } from './aws.ts';
import { azureEndpoints, azureProvider } from './azure.ts';
import { githubEndpoints, githubProvider } from './github.ts';
import { kubernetesProvider } from './kubernetes.ts';

/** A file each: what a Provider of this type says. */
const specs = [awsProvider, azureProvider, kubernetesProvider, githubProvider] as const;
const types = specs.map(({ shape }) => shape.type.value);
export type ProviderType = (typeof types)[number];

const laterTypes = ['gcp', 'gitlab', 'vault', 'postgres'];

/** A cloud that credentials come from, with the ceilings they are cut from. `token` exists without a document. */
export const provider = documentOf(
  'Provider',
  z.discriminatedUnion('type', specs, {
    error: ({ input }) => {
      const type: unknown = Reflect.get(Object(input), 'type');
      return typeof type === 'string' && laterTypes.includes(type)
        ? notBuiltMessage(type)
        : oneOf(type, types);
    },
  }),
);

export type ProviderSpec = z.output<typeof provider>['spec'];

/** With the addresses of the provider's own APIs where the document names none. */
export function withEndpoints(spec: ProviderSpec): ProviderSpec {
  switch (spec.type) {
    case 'aws':
      return { ...spec, endpoints: { ...awsEndpoints(spec), ...spec.endpoints } };
    case 'azure':
      return { ...spec, endpoints: { ...azureEndpoints, ...spec.endpoints } };
    case 'kubernetes':
      return spec;
    case 'github':
      return { ...spec, endpoints: { ...githubEndpoints, ...spec.endpoints } };
    default:
      return spec satisfies never;
  }
}
