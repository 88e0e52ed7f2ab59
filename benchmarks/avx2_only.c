/* Preloaded, this makes the CPU of a process one without AVX-512: its CPUID instruction faults, and the answer in its
 * place leaves out what is wider than AVX2. For Linux on x86-64 with "cpuid_fault" in /proc/cpuinfo; see arch_prctl(2). */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(i) (1u << (i))

enum { kSetCpuid = 0x1012 }; /* ARCH_SET_CPUID */

/* Of leaf 7: AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT,
 * AMX_BF16, AVX512_FP16, AMX_TILE, AMX_INT8. */
static const unsigned kWideEbx = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const unsigned kWideEcx = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14);
static const unsigned kWideEdx = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);

static void answer(int number, siginfo_t* info, void* context) {
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* code = (const unsigned char*)registers[REG_RIP];
  if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
    signal(number, SIG_DFL); /* no CPUID: the program goes back there, faults again and ends */
    return;
  }
  const unsigned leaf = registers[REG_RAX], part = registers[REG_RCX];
  unsigned a, b, c, d;
  syscall(SYS_arch_prctl, kSetCpuid, 1);
  __cpuid_count(leaf, part, a, b, c, d);
  syscall(SYS_arch_prctl, kSetCpuid, 0);
  if (leaf == 7 && part == 0) b &= ~kWideEbx, c &= ~kWideEcx, d &= ~kWideEdx;
  if (leaf == 7 && part > 0) a = b = c = d = 0; /* AVX_VNNI, AVX512_BF16, AVX10 and the like */
  registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, 0);
  if (syscall(SYS_arch_prctl, kSetCpuid, 0)) { /* threads inherit it, programs that are started do not */
    perror("AVX-512 cannot be hidden: arch_prctl(ARCH_SET_CPUID)");
    _exit(1);
  }
}
