/* terminal.c - the terminal of a job, which is the user's and comes from the tool at restore. */
#include "puppet.h"
#include "images/img.h"
#include "proto/tty.pb-c.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static char dir[] = "/tmp/terminal-XXXXXX";

/* A "shell" that leads the session of a new pseudo terminal, and its job. */
struct session {
	int master, slave;
	pid_t shell, job;
};

static int must(int rc)
{
	if (rc < 0) {
		perror("preparing a session");
		_exit(1);
	}
	return rc;
}

static void job(const char *tty, int ready)
{
	pid_t pid = getpid();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	must(dup2(ready, 50));
	syscall(SYS_close_range, 0, 49, 0);
	syscall(SYS_close_range, 51, ~0U, 0);
	must(open(tty, O_RDWR));
	must(dup2(0, 1));
	must(open(tty, O_WRONLY | O_NONBLOCK));
	must(open("/dev/tty", O_RDWR | O_CLOEXEC));
	must(write(50, &pid, sizeof(pid)));
	close(50);
	for (;;)
		pause();
}

static void shell(const char *tty, int ready)
{
	struct termios t;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGHUP, SIG_IGN);
	must(dup2(ready, 60));
	syscall(SYS_close_range, 0, 59, 0);
	syscall(SYS_close_range, 61, ~0U, 0);
	must(setsid());
	fd = must(open(tty, O_RDWR));
	must(tcgetattr(fd, &t));
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 7;
	must(tcsetattr(fd, TCSANOW, &t));
	if (!must(fork()))
		job(tty, 60);
	close(60);
	for (;;)
		pause();
}

static void session_start(struct session *s)
{
	int ready[2];
	char tty[64], c;

	s->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(s->master >= 0);
	assert_int_equal(unlockpt(s->master), 0);
	assert_int_equal(ptsname_r(s->master, tty, sizeof(tty)), 0);
	s->slave = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	s->shell = fork();
	if (!s->shell)
		shell(tty, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &s->job, sizeof(s->job)), sizeof(s->job));
	assert_int_equal(read(ready[0], &c, 1), 0);
	close(ready[0]);
}

static void session_end(struct session *s)
{
	kill(s->job, SIGKILL);
	kill(s->shell, SIGKILL);
	waitpid(s->shell, NULL, 0);
	close(s->master);
	close(s->slave);
}

static void refused(struct tree *tree, bool shell_job, const char *text)
{
	struct refusals no = {};
	struct file_save s = { .tree = tree, .refusals = &no, .shell_job = shell_job };

	assert_int_equal(files_collect(&s, NULL), 0);
	assert_true(no.n > 0);
	if (!strstr(no.line[0], text))
		fail_msg("\"%s\", not \"%s\"", no.line[0], text);
	files_save_release(&s);
	refusals_release(&no);
}

static void test_refused(void **state)
{
	struct session s;
	struct tree tree = {}, whole = {};

	session_start(&s);
	task_of(&tree, s.job);
	refused(&tree, false, "is not supported without --shell-job");
	task_of(&whole, s.shell);
	refused(&whole, true, "of a session that starts in the tree is not supported");
	tree_release(&tree);
	tree_release(&whole);
	session_end(&s);
}

static void test_hung_up(void **state)
{
	struct session s;
	struct tree tree = {};

	session_start(&s);
	task_of(&tree, s.job);
	close(s.master);
	s.master = -1;
	refused(&tree, true, "/dev/pts/");
	tree_release(&tree);
	session_end(&s);
}

static void check_images(int dirfd, const struct session *s)
{
	scoped_reader r = NULL;
	TtyInfoEntry *e;
	struct stat st;
	unsigned char cc[32];

	assert_int_equal(fstat(s->slave, &st), 0);
	assert_int_equal(img_open(&r, NULL, dirfd, "tty-info.img"), 0);
	assert_int_equal(img_next(r, &e, NULL), 1);
	assert_int_equal(e->type, TTY_TYPE__PTY);
	assert_int_equal(e->rdev, st.st_rdev);
	assert_int_equal(e->id, 2 * e->pty->index);
	assert_int_equal(e->sid, s->shell);
	assert_int_equal(e->termios->c_lflag & (ICANON | ECHO), 0);
	assert_int_equal(e->termios->n_c_cc, 19);
	memcpy(cc, e->termios->c_cc, sizeof(cc));
	assert_int_equal(cc[VMIN], 7);
	tty_info_entry__free_unpacked(e, NULL);
	assert_int_equal(img_next(r, &e, NULL), 1);
	assert_int_equal(e->type, TTY_TYPE__CTTY);
	assert_int_equal(e->id, 2 * 1006);
	tty_info_entry__free_unpacked(e, NULL);
	assert_int_equal(img_next(r, &e, NULL), 0);
}

static void move_tables(struct task *from, struct task *to)
{
	to->fdinfo = from->fdinfo;
	to->n_fdinfo = from->n_fdinfo;
	to->fs = from->fs;
	from->fdinfo = NULL;
	from->n_fdinfo = 0;
	from->fs = NULL;
}

static void check_restored(const struct puppet *p, const struct session *s)
{
	scoped_fd fd = file_copy(p->task, 0, NULL), wr = file_copy(p->task, 2, NULL);
	struct stat a, b;

	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(fstat(s->slave, &b), 0);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	assert_int_equal(fcntl(wr, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY | O_NONBLOCK);
	assert_int_equal(syscall(SYS_kcmp, p->pid, p->pid, 0, 0, 1), 0); /* still one */
}

static void test_there_and_back(void **state)
{
	scoped_fd dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int stdin_was = fcntl(0, F_DUPFD_CLOEXEC, 0);
	struct refusals no = {};
	struct session s;
	struct tree tree = {};
	struct puppet p;
	struct err err = {};

	session_start(&s);
	struct file_save save = { .tree = &tree, .refusals = &no, .shell_job = true };
	task_of(&tree, s.job);
	assert_int_equal(files_collect(&save, &err), 0);
	assert_int_equal(refusals_result(&no, &err), 0);
	assert_int_equal(files_write(&save, dirfd, &err), 0);
	check_images(dirfd, &s);

	puppet_start(&p);
	move_tables(tree.task[0], p.task);
	struct file_build b = { .tree = &p.tree, .dirfd = dirfd };
	assert_int_equal(files_load(&b, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "--shell-job"));
	files_build_release(&b);
	b = (struct file_build) { .tree = &p.tree, .dirfd = dirfd, .shell_job = true };
	dup2(s.slave, 0);
	if (files_load(&b, &err) < 0 || files_give(&b, &p.batch, PUPPET_BUSY, &err) < 0)
		fail_msg("%s", err.text);
	assert_false(files_terminal_give(&b)); /* we are not in its foreground */
	dup2(stdin_was, 0);
	close(stdin_was);
	check_restored(&p, &s);
	files_build_release(&b);
	files_save_release(&save);
	puppet_end(&p);
	tree_release(&tree);
	session_end(&s);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hung_up),
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
