/** The permissions of Google's predefined roles, as far as boundaries, buckets and topics here name them. */
const roles: Readonly<Record<string, readonly string[]>> = {
  'roles/storage.objectViewer': ['storage.objects.get', 'storage.objects.list'],
  'roles/storage.objectCreator': ['storage.objects.create'],
  'roles/storage.objectUser': [
    'storage.objects.get',
    'storage.objects.list',
    'storage.objects.create',
    'storage.objects.delete',
    'storage.objects.update',
  ],
  'roles/pubsub.publisher': ['pubsub.topics.publish'],
};

export function permissionsOf(role: string): readonly string[] | undefined {
  return Object.hasOwn(roles, role) ? roles[role] : undefined;
}

const scopes = 'https://www.googleapis.com/auth';
const writing = [
  `${scopes}/devstorage.read_write`,
  `${scopes}/devstorage.full_control`,
  `${scopes}/cloud-platform`,
];
const reading = [`${scopes}/devstorage.read_only`, ...writing];

/** Scopes under which a permission can be used at all. */
export function scopesFor(permission: string): readonly string[] {
  if (permission.startsWith('pubsub.')) return [`${scopes}/pubsub`, `${scopes}/cloud-platform`];
  return permission === 'storage.objects.get' || permission === 'storage.objects.list' ? reading : writing;
}
