/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that hosts may not make, by libseccomp, and giving up privileges. What is
 * forbidden is listed and all else allowed: handlers are programs of any kind, and a list of what
 * they may do would be wrong with the next version of a libc. What nobody calls by accident kills;
 * what libraries try and do without fails. */
#include "workers/handlers/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#define NAMESPACES                                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)
#define SOCKET_TYPE 0xf /* of a socket's second argument */

/* Look into other processes, or administer the machine. */
static const char *const deadly[] = {
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"kcmp",
	"bpf",
	"mount",
	"umount2",
	"mount_setattr",
	"move_mount",
	"open_tree",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"pivot_root",
	"chroot",
	"swapon",
	"swapoff",
	"reboot",
	"kexec_load",
	"kexec_file_load",
	"init_module",
	"finit_module",
	"delete_module",
	"acct",
	"quotactl",
	"quotactl_fd",
	"open_by_handle_at",
	"settimeofday",
	"clock_settime",
	"iopl",
	"ioperm",
	"sethostname",
	"setdomainname",
	"vhangup",
	"syslog",
	"uselib",
	"nfsservctl",
	"lookup_dcookie",
};
/* For a module these are deadly as well: it has no business with them, while programs try them. */
static const char *const for_programs[] = { "keyctl", "add_key", "request_key" };
static const char *const starting[] = { "execve", "execveat" };
/* Libraries try these and do without. */
static const struct {
	const char *name;
	int error;
} refused[] = {
	{ "io_uring_setup", ENOSYS }, /* its requests pass by this filter */
	{ "io_uring_enter", ENOSYS }, { "io_uring_register", ENOSYS },
	{ "clone3", ENOSYS }, /* its flags cannot be seen here; libc falls back to clone */
	{ "unshare", EPERM },         { "setns", EPERM },
	{ "perf_event_open", EPERM }, { "userfaultfd", EPERM },
	{ "adjtimex", EPERM },        { "clock_adjtime", EPERM },
};
/* Families that a handler has no use for, and whose code in the kernel few have looked at. */
static const int families[] = { AF_AX25, AF_IPX, AF_APPLETALK, AF_NETROM, AF_BRIDGE, AF_X25,
				AF_KEY,  AF_RDS, AF_LLC,       AF_CAN,    AF_TIPC,   AF_BLUETOOTH,
				AF_ALG,  AF_NFC, AF_VSOCK,     AF_KCM,    AF_SMC,    AF_XDP };

/* ---- privileges */
int sandbox_drop_privileges(struct error *err_r)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err_r, ERROR_INTERNAL, "no_new_privs: %s", strerror(errno));
	/* Root would get them back with the next program but for the bounding set. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return error_set(err_r, ERROR_INTERNAL, "capabilities: %s", strerror(errno));
	return 0;
}

/* ---- the filter */
/* A name that this architecture does not have is no fault. */
static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
		     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]), result;

		if (number == __NR_SCMP_ERROR)
			continue;
		result = seccomp_rule_add(filter, action, number, 0);
		if (result < 0 && result != -EDOM)
			return result;
	}
	return 0;
}

static int add_refused(scmp_filter_ctx filter)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(refused) && result == 0; i++)
		result = add_names(filter, SCMP_ACT_ERRNO((uint32_t)refused[i].error),
				   &refused[i].name, 1);
	for (unsigned bit = 1; bit && result == 0; bit <<= 1) {
		if (bit & (unsigned)NAMESPACES)
			result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
						  SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
	}
	return result;
}

static int add_sockets(scmp_filter_ctx filter, uint32_t deadly_action)
{
	static const int internet[] = { AF_INET, AF_INET6 };
	int result = seccomp_rule_add(filter, deadly_action, SCMP_SYS(socket), 1,
				      SCMP_A0(SCMP_CMP_EQ, AF_PACKET, 0));

	for (size_t i = 0; i < ARRAY_LEN(families) && result == 0; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	for (size_t i = 0; i < ARRAY_LEN(internet) && result == 0; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2,
					  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)internet[i], 0),
					  SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE, SOCK_RAW));
	return result;
}

static int add_rules(scmp_filter_ctx filter, bool module)
{
	uint32_t deadly_action = module ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
	int result = add_names(filter, deadly_action, deadly, ARRAY_LEN(deadly));

	if (result == 0)
		result = add_names(filter, module ? deadly_action : SCMP_ACT_ERRNO(EPERM),
				   for_programs, ARRAY_LEN(for_programs));
	if (result == 0 && module)
		result = add_names(filter, deadly_action, starting, ARRAY_LEN(starting));
	/* So that nobody catches what kills. */
	if (result == 0 && module)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(rt_sigaction), 1,
					  SCMP_A0(SCMP_CMP_EQ, SIGSYS, 0));
	if (result == 0)
		result = add_refused(filter);
	return result == 0 ? add_sockets(filter, deadly_action) : result;
}

static int load(bool module)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int result = filter ? 0 : -ENOMEM;

	/* Everything else is a wish: by a tree instead of one after the other; all threads; without
	 * the slow-down that older kernels put on filtered processes. */
	if (result == 0) {
		(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
		result = add_rules(filter, module);
	}
	if (result == 0)
		result = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return result;
}

/* ---- who made one */
static sandbox_caught_fn *caught_fn;

static void on_forbidden(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	caught_fn(info->si_syscall);
	/* The handler is gone (SA_RESETHAND): what killed us is still what the engine sees. */
	(void)raise(SIGSYS);
}

int sandbox_forbid_calls(sandbox_caught_fn *caught, struct error *err_r)
{
	struct sigaction action = { .sa_sigaction = on_forbidden,
				    .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER };
	int result;

	if (!sandbox_seccomp())
		return 0;
	caught_fn = caught;
	if (caught)
		CHECK(sigaction(SIGSYS, &action, NULL) == 0);
	result = load(caught != NULL);
	return result == 0 ? 0 : error_set(err_r, ERROR_INTERNAL, "seccomp: %s", strerror(-result));
}

/* ---- for those outside */
bool sandbox_seccomp(void)
{
	/* -1 with EFAULT where filters are known, EINVAL where they are not */
	return prctl(PR_SET_SECCOMP, 2, NULL, 0, 0) < 0 && errno == EFAULT;
}

const char *sandbox_call_name(int number, char text_r[SANDBOX_CALL_TEXT])
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

	if (name)
		snprintf(text_r, SANDBOX_CALL_TEXT, "%s", name);
	else
		snprintf(text_r, SANDBOX_CALL_TEXT, "system call %d", number);
	free(name);
	return text_r;
}
