#!/bin/bash
[[ a ]]
