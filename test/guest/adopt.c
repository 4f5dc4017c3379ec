/*
 * adopt.c - wait for a tree that a command restored and left behind.
 *
 *   adopt PIDFILE CMD [ARG...]
 *
 * Runs CMD, which is to restore a tree, to write the pid of its root to PIDFILE
 * and to end; then waits for that root, which becomes our child, and exits as it
 * does. 125 when CMD failed: `criu restore` itself never tells how the tree ended.
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 125 };

static int wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return FAILED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int pid = 0;
	FILE *f;

	if (argc < 3 || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return FAILED;
	pid = fork();
	if (pid < 0)
		return FAILED;
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		_exit(FAILED);
	}
	if (wait_for(pid))
		return FAILED;
	f = fopen(argv[1], "re");
	if (!f || fscanf(f, "%d", &pid) != 1)
		return FAILED;
	fclose(f);
	return wait_for(pid);
}
