/*
 * runner-offsets.h - the layout of a slice in numbers, for the assembler too.
 * runner.h has the same as a struct, and checks each number against it.
 */
#ifndef ARCH_RUNNER_OFFSETS_H
#define ARCH_RUNNER_OFFSETS_H

#define SLICE_CMD	0
#define SLICE_STATE	4
#define SLICE_COUNT	8
#define SLICE_LIMIT	16
#define SLICE_EMPTY_SET 32
#define SLICE_KEPT	40
#define SLICE_GRACE	48
#define SLICE_CHAIN	64
#define SLICE_SIGRETURN 72
#define SLICE_CALL	80
#define SLICE_DONE	88
#define SLICE_TABLE_LEN 96
#define SLICE_TABLE	104
#define SLICE_N_UNDO	112
#define SLICE_SPARE	120
#define SLICE_UNDO	192
#define SLICE_ROWS	448
#define SLICE_SIZE	28672

#define SLICE_MAX_UNDO	16

/* .cmd */
#define RUNNER_IDLE 0
#define RUNNER_RUN  1

/* .state */
#define RUNNER_DONE 1 /* the plan was walked */
#define RUNNER_GONE 2 /* nobody came: it let the thread go by itself */

/* A row, see struct plan_row. */
#define ROW_OFF_NR    0
#define ROW_OFF_ARG   8
#define ROW_OFF_RET   56
#define ROW_OFF_UNDO  64
#define ROW_OFF_FLAGS 72
#define ROW_OFF_USE   76
#define ROW_SIZE      80

/* The counter that .done points to: plans walked, and how many there are. */
#define DONE_COUNT  0
#define DONE_TARGET 4

#endif
