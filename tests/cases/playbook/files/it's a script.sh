#!/bin/sh
echo "{{ literally }}" {% x %}
