/*
 * step - the numbered places at which a test kills the tool.
 *
 * Only builds for tests define RESCUE_STEPS and bring rescue_step along (test/fire/step.c);
 * in the programs a step is nothing at all.
 */
#ifndef BASE_STEP_H
#define BASE_STEP_H

#ifdef RESCUE_STEPS
void rescue_step(void);
#define STEP() rescue_step()
#else
#define STEP() ((void)0)
#endif

#endif
