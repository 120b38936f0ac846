// dropout's mask: one draw per element, in element order, by one thread.
#include "dropout.h"

#include "../random_draw.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

void dropout_mask(const DropoutMask& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    T* mask = static_cast<T*>(args.mask);
    const float keep = static_cast<float>(args.keep);
    const T scale = static_cast<T>(args.scale);
    for (std::int64_t i = 0; i < args.size; ++i)
      mask[i] = draw_unit<float>(*args.state) < keep ? scale : T{0};
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
