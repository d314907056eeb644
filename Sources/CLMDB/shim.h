#pragma once
#include <lmdb.h>
#include "crc32c.h"
#include "files.h"
