/* The two functions of libmunge that QRMI uses, without a daemon: a credential says who made it,
 * and nothing proves it. For tests against the Warden stand-in, which knows this form alone.
 *
 * FAKE_MUNGE_UID in the environment says who asks, where it is not the user of the process. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Tells this library from MUNGE's own, whose name it bears. */
const char *cudaq_target_munge_stub(void) { return "cudaq-target"; }

int munge_encode(char **credential, void *context, const void *payload, int length) {
  static unsigned count;
  const char *given = getenv("FAKE_MUNGE_UID");
  (void)context;
  (void)payload;
  if (credential == NULL || length < 0) return 2; /* EMUNGE_BAD_ARG */
  *credential = malloc(128);
  if (*credential == NULL) return 5; /* EMUNGE_NO_MEMORY */
  snprintf(*credential, 128, "FAKEMUNGE:%s:%ld:%ld.%u:", given ? given : "", (long)getuid(),
           (long)time(NULL), __atomic_fetch_add(&count, 1u, __ATOMIC_RELAXED));
  return 0;
}

const char *munge_strerror(int error) { return error ? "stub of libmunge: error" : "Success"; }
