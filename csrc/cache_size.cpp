// The size of the caches, as the system tells it.
#include "cache_size.h"

#include <unistd.h>

namespace tilegrad {

static std::int64_t ask_system() {
  constexpr std::int64_t kUsual = 1 << 20;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const std::int64_t found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return found > 0 ? found : kUsual;
#else
  return kUsual;
#endif
}

std::int64_t second_cache_bytes() {
  static const std::int64_t bytes = ask_system();
  return bytes;
}

}  // namespace tilegrad
