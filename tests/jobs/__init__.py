"""Tests of scheduled jobs."""
