#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How large are the knots: files of core/ and fs/ that call each other in circles?

    scripts/knots.py [BUILD]     0: none has more than 7 files; 1: the larger ones, with the calls inside
    scripts/knots.py -v [BUILD]  all knots

A file "calls" another when its object needs a symbol (function or variable) that the other defines, as nm(1) sees
it: static calls and taken addresses.  What goes through a table of functions is no call, which is what such tables
are for.  A knot is a strongly connected component of these files.
"""
import collections, os, re, subprocess, sys

LIMIT = 7


def objects(build):
    for room in ('core', 'fs'):
        for folder, _, files in os.walk(os.path.join(build, room)):
            for f in files:
                if f.endswith('.c.o'):
                    path = os.path.join(folder, f)
                    yield room + '/' + re.search(r'\.dir/(.*)\.c\.o$', path)[1], path


def calls(build):
    """{file: {other file: [symbol]}}"""
    where, needs = {}, collections.defaultdict(list)
    for name, path in objects(build):
        needs[name] = []
        for line in subprocess.run(['nm', path], check=True, capture_output=True, text=True).stdout.splitlines():
            kind, symbol = line.split()[-2:]
            if kind == 'U':
                needs[name].append(symbol)
            elif kind in 'TDBRVW':
                where[symbol] = name
    graph = {name: collections.defaultdict(list) for name in needs}
    for name, symbols in needs.items():
        for s in symbols:
            if where.get(s, name) != name:
                graph[name][where[s]].append(s)
    return graph


def reach(graph, start):
    seen, todo = set(), [start]
    while todo:
        for other in graph[todo.pop()]:
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def knots(graph):
    reached = {name: reach(graph, name) for name in graph}
    found = {tuple(sorted(o for o in reached[name] if name in reached[o])) for name in graph}
    return sorted((k for k in found if len(k) > 1), key=len, reverse=True)


def main():
    args = [a for a in sys.argv[1:] if a != '-v']
    graph = calls(args[0] if args else 'build/release')
    if not graph:
        sys.exit('scripts/knots.py: no objects there; build it first')
    found = knots(graph)
    for knot in found if '-v' in sys.argv else [k for k in found if len(k) > LIMIT]:
        print(f'{len(knot)} files call each other: {" ".join(knot)}')
        for name in knot:
            for other in sorted(set(knot) & set(graph[name])):
                print(f'    {name} -> {other}: {" ".join(sorted(graph[name][other]))}')
    print(f'the largest knot has {max(map(len, found), default=0)} files')
    return any(len(k) > LIMIT for k in found)


sys.exit(main())
