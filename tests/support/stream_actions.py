"""What can happen in one step of a history of publishers, journal, network and subscribers, and how often."""

from random import Random

from stream_world import LANES, MAX_AGE_S, Listener, World

STEP_S = 0.002

_WEIGHTS = """
publish 10   burst 2     flood 0.1     heartbeat 3   take 2     write 3    kill 0.5   stop 0.5   disk 0.6   join 0.2
leave 0.15   rejoin 0.2  deliver 12    lose 2        double 1   delay 1    cut 0.3    mend 0.6   ask 5      answer 5
forget 0.5   catch-up 2   wait 4      wait-long 0.2
"""
ACTIONS = dict(zip(_WEIGHTS.split()[::2], map(float, _WEIGHTS.split()[1::2]), strict=True))
LOSSLESS = {
    "publish",
    "burst",
    "heartbeat",
    "take",
    "write",
    "stop",
    "join",
    "rejoin",
    "deliver",
    "lose",
    "double",
    "delay",
}
GENTLE = LOSSLESS | {"flood", "ask", "answer", "forget", "catch-up"}


def act(world: World, action: str, random: Random) -> None:
    """One step of a history; `random` decides the details."""
    world.steps += 1
    world.now_s += STEP_S
    world.seen[action] += 1
    listener = random.choice(world.listeners) if world.listeners else None
    if action == "publish":
        world.publish(random.choice(LANES))
    elif action == "burst":
        for _ in range(random.randint(2, 12)):
            world.publish(random.choice(LANES))
    elif action == "flood":
        for _ in range(random.randint(60, 150)):
            world.publish(random.choice(LANES))
    elif action == "heartbeat":
        world.heartbeat()
    elif action in ("take", "write", "kill", "stop"):
        getattr(world, action)()
    elif action == "disk":
        world.disk(**random.choice([{"gone": True}, {"full": True}, {}, {}]))
    elif action == "join" and len(world.listeners) < 3:
        world.join()
    elif action == "wait":
        world.wait(random.choice([0.05, 0.3, 0.6, 1.0]))
    elif action == "wait-long":
        world.wait(MAX_AGE_S * random.random())
    elif listener is not None:
        _act_on(world, action, listener, random)


def _act_on(world: World, action: str, listener: Listener, random: Random) -> None:
    at = random.randrange(1000)
    if action in ("leave", "rejoin"):
        left = world.leave(world.listeners.index(listener))
        if action == "rejoin":
            world.join(since=left)
    elif action == "deliver":
        world.deliver(listener, random.randint(1, 20))
    elif action == "lose":
        world.lose(listener, at)
    elif action == "double":
        world.double(listener, at, random.randrange(4))
    elif action == "delay":
        world.delay(listener, at, random.randrange(8))
    elif action in ("cut", "mend"):
        world.cut(listener, off=action == "cut")
    elif action == "ask":
        world.ask(listener)
    elif action == "answer":
        world.answer(listener, at, twice=random.random() < 0.1)
    elif action == "catch-up":
        world.catch_up(listener, random.randint(1, 40))
    elif action == "forget":
        world.forget_answer(listener)
