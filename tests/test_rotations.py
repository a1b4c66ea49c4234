"""Rotations as vectors, and poses taken apart."""

import numpy as np
import pytest

from echomimic.motion.rotations import (
    join_poses,
    rotation_matrices,
    rotation_vectors,
    split_poses,
    turned_towards,
)


def vectors(count, *, largest=np.pi - 1e-6):
    random = np.random.default_rng(2)
    axis = random.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    return axis * random.uniform(0, largest, (count, 1))


def test_vectors_survive_becoming_matrices():
    turns = np.concatenate([vectors(100), np.zeros((1, 3)), 1e-9 * vectors(5)])
    matrices = rotation_matrices(turns)
    np.testing.assert_allclose(rotation_vectors(matrices), turns, atol=1e-7)
    identity = np.broadcast_to(np.eye(3), matrices.shape)
    np.testing.assert_allclose(matrices @ matrices.swapaxes(1, 2), identity, atol=1e-12)


def test_a_quarter_about_y_takes_z_to_x():
    turn = rotation_matrices(np.array([0, np.pi / 2, 0]))
    np.testing.assert_allclose(turn @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_half_a_turn_has_a_vector():
    turn = rotation_vectors(np.diag([-1.0, 1.0, -1.0]))
    np.testing.assert_allclose(abs(turn), [0, np.pi, 0], atol=1e-9)


def test_what_is_nearly_a_rotation_gives_the_vector_of_the_closest():
    turns = vectors(50, largest=2.0)
    noise = np.random.default_rng(3).normal(0, 1e-4, (50, 3, 3))
    np.testing.assert_allclose(rotation_vectors(rotation_matrices(turns) + noise), turns, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_way_turns_by_that_share(share):
    start = rotation_matrices(vectors(20))
    way = np.array([0.3, -1.2, 0.5])
    reached = turned_towards(start, start @ rotation_matrices(way), np.full(20, share))
    np.testing.assert_allclose(reached, start @ rotation_matrices(share * way), atol=1e-9)


def test_poses_are_taken_apart_and_joined():
    random = np.random.default_rng(4)
    scales, shifts = random.uniform(0.5, 2, 20), random.normal(size=(20, 3))
    poses = join_poses(scales, rotation_matrices(vectors(20)), shifts)
    parts = split_poses(poses)
    np.testing.assert_allclose(parts[0], scales)
    np.testing.assert_allclose(join_poses(*parts), poses, atol=1e-12)
