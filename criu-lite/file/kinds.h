/* kinds - the rows of file_kinds[], one a file. */
#ifndef FILE_KINDS_H
#define FILE_KINDS_H

#include "criu-lite/file/file.h"

extern const struct file_kind fd_chardev, fd_dir, fd_epoll, fd_eventfd, fd_fifo, fd_memfd, fd_path,
	fd_pipe, fd_reg, fd_signalfd, fd_timerfd, fd_tty;

#endif
