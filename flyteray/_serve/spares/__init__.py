"""Spare processes wait to become replicas, with all imported that takes a process seconds to import.

Ray has a pool of idle workers, and gives a new actor one of the same ``runtime_env``. Measured with Ray 2.60:

- One that has run a task is given no actor: so a spare runs none. Its raylet is asked to start it
  (``PrestartWorkers``), and it imports in the hook that Ray calls in each new process that names one.
- A process that calls an actor before it is given a task is ended by Ray: a spare asks nobody.
- One that is started without a job is given to any job's actor or task of its ``runtime_env``, whatever resources
  that asks for; ``RAY_JOB_ID`` is nil in it, by which it knows that it is spare.
- Idle workers beyond the number of CPUs are ended after a second, but not before the time that the raylet was told to
  keep them for.
- Who is given one that was killed a moment before dies without a word: Serve starts another replica.
- Ray sets ``OMP_NUM_THREADS`` of a process when it gives it away, where it is not set, and which accelerators it sees:
  so no spare loads the code of an app that has some.
- The raylet gives it away as soon as it has connected: who gets it while it imports waits for the rest.
"""
