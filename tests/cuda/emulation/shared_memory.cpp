// Finds the __shared__ variables of kernels in the program's symbol table.
//
// To the host compiler they are static variables of functions. GCC cannot put those of a template
// into a section of their own, where they would be easy to find, but their names tell: everything
// static inside a function of tilegrad::cuda. The symbols of a source file follow its name.
#include "shared_memory.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace emulation {
namespace {

struct Variable {
  char* data;
  std::size_t bytes;
};
struct SourceFile {
  std::vector<Variable> variables;
};

// Names of variables inside functions of namespace tilegrad::cuda, as the compiler mangles them;
// not those that guard the initialization of others.
bool is_shared(std::string_view name) { return name.starts_with("_ZZN8tilegrad4cuda"); }

// The function of a variable _ZZ <function> E <length> <variable>; itself it is called _Z
// <function>.
std::string_view function_of(std::string_view variable) {
  for (std::size_t end = variable.rfind('E'); end != std::string_view::npos && end > 3;
       end = variable.rfind('E', end - 1))
    if (end + 1 < variable.size() && std::isdigit(static_cast<unsigned char>(variable[end + 1])))
      return variable.substr(3, end - 3);
  return {};
}

std::vector<char> contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The functions of each source file, by address, and the variables beside them.
class Symbols {
 public:
  Symbols() {
    Dl_info here;
    if (dladdr(reinterpret_cast<void*>(&poison_shared_memory), &here) == 0) return;
    const std::vector<char> file = contents(here.dli_fname);
    if (file.size() < sizeof(ElfW(Ehdr))) return;
    const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(file.data());
    base_ = header->e_type == ET_DYN ? static_cast<char*>(here.dli_fbase) : nullptr;
    const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file.data() + header->e_shoff);
    for (int i = 0; i < header->e_shnum; ++i)
      if (sections[i].sh_type == SHT_SYMTAB)
        read(file.data(), sections[i], sections[sections[i].sh_link]);
  }

  const SourceFile* file_of(const void* function) const {
    const auto found = by_function_.find(function);
    return found == by_function_.end() ? nullptr : &files_[found->second];
  }
  std::size_t own_bytes_of(const void* function) const {
    const auto found = own_bytes_.find(function);
    return found == own_bytes_.end() ? 0 : found->second;
  }

 private:
  void read(const char* file, const ElfW(Shdr) & table, const ElfW(Shdr) & strings) {
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(file + table.sh_offset);
    files_.emplace_back();
    std::map<std::string_view, std::size_t> bytes;  // of the current file, by function
    std::vector<std::pair<std::string_view, const void*>> functions;
    const auto end_file = [&] {
      for (const auto& [name, address] : functions)
        if (const auto found = bytes.find(name); found != bytes.end())
          own_bytes_.emplace(address, found->second);
      bytes.clear();
      functions.clear();
    };
    for (std::size_t i = 0; i < table.sh_size / sizeof(ElfW(Sym)); ++i) {
      const char* name = file + strings.sh_offset + symbols[i].st_name;
      const int type = ELF64_ST_TYPE(symbols[i].st_info);
      char* address = base_ + symbols[i].st_value;
      if (type == STT_FILE) {
        end_file();
        files_.emplace_back();
      } else if (type == STT_FUNC) {
        by_function_.emplace(address, files_.size() - 1);
        functions.emplace_back(std::string_view(name).substr(std::min(std::strlen(name), kPrefix)),
                               address);
      } else if (type == STT_OBJECT && is_shared(name)) {
        files_.back().variables.push_back({address, symbols[i].st_size});
        bytes[function_of(name)] += symbols[i].st_size;
      }
    }
    end_file();
  }

  static constexpr std::size_t kPrefix = 2;  // _Z

  char* base_ = nullptr;
  std::vector<SourceFile> files_;
  std::map<const void*, std::size_t> by_function_, own_bytes_;
};
const Symbols& symbols() {
  static const Symbols instance;
  return instance;
}

}  // namespace

void poison(void* data, std::size_t bytes) { std::memset(data, 0xff, bytes); }

void poison_shared_memory(const void* kernel, bool used) {
  static const void* last = nullptr;
  if (kernel == last && !used) return;
  last = kernel;
  const SourceFile* file = symbols().file_of(kernel);
  if (file == nullptr) return;
  for (const Variable& variable : file->variables) poison(variable.data, variable.bytes);
}

std::size_t shared_bytes_of(const void* kernel) { return symbols().own_bytes_of(kernel); }

}  // namespace emulation
