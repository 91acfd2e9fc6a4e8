// Google's libraries print whole requests and answers, tokens too, where this variable is set. They look when they are
// loaded, so this module comes before them.
delete process.env['GOOGLE_SDK_NODE_LOGGING'];
