"""Inputs that fuzzing begins with. Small: what it found stands in tests of its own."""

from __future__ import annotations

from typing import Final

TEMPLATES: Final = [
    "/",
    "/v1/things/{name}",
    "/v1/{name=shelves/*/books/*}:cancel",
    "/v1/{sub.deep.s=**}/leaf",
    "/a%2Fb/*/**/c:verb",
]

URLS: Final = [
    "/v1/things/abc",
    "/v1/things/a%2Fb:c",
    "/v1/shelves/1%21x/books/b%3Fc",
    "/v1/files/a/b/c",
    "/v1/tree/a/b/leaf",
    "/v1/choices/x/s",
    "/v1/numbers/1/2/true/RED/1.5/aGk/2020-01-01T00:00:00Z/x?f=1",
    "/v1/everything/1/2/3/4/1.5/-0.5/true/aGk=",
    "/v1/everything/wrapped/1/true/aGk/1.5s/a,b.c/x",
    "/v1/everything?a_int32=1&r_string=a&r_string=b&o_bool=true&w_int64=5&t_timestamp=2020-01-01T00:00:00Z",
    "/v1/everything?a_self.a_self.a_sub.n=1&k_sub.s=x&t_mask=a,b&t_duration=-1.5s&a_bytes=_-8%3D&a_color=RED",
    "/v1/everything?$alt=json%3Benum-encoding%3Dint&prettyPrint=true&aDouble=NaN&a_float=3.4028235e%2B38",
    "/v1/ticks?count=1",
]

BODIES: Final = [
    "{}",
    '{"a_int32":1,"aInt64":"9007199254740993","a_double":1e308,"a_float":0.1,"a_bool":true,"a_bytes":"aGk="}',
    '{"a_color":"RED","a_null":null,"a_sub":{"s":"x","deep":{"deep":{"s":"\\u00e9"}}},"a_self":{"a_self":{}}}',
    '{"r_int32":[1,"2"],"r_color":[1,"GREEN",99],"r_null":[null],"r_sub":[{},{"n":1}],"r_wrapped":[1]}',
    '{"w_int64":"5","w_bool":false,"w_bytes":"_-8","t_empty":{},"t_duration":"1.5s","t_mask":"a,bC.d"}',
    '{"t_timestamp":"2020-01-01T00:00:00.5+01:00","rt_timestamp":["0001-01-01T00:00:00Z"],"mv_null":{"k":null}}',
    '{"t_struct":{"a":[1,null,{"b":true}]},"t_value":[["x"]],"t_list":[1],"mv_value":{"k":null},"mv_struct":{"k":{}}}',
    '{"t_any":{"@type":"type.googleapis.com/gatewaytest.Everything","t_any":{"@type":"x/gatewaytest.Sub","n":1}}}',
    '{"rt_any":[{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"},{}]}',
    '{"mk_int32":{"1":"a","-2":"b"},"mk_bool":{"true":"a"},"mv_float":{"k":3.4028235e38},"mv_self":{"k":{}}}',
    '{"k_int64":1}',
    '{"k_value":{"a":1},"another-name":"x","double__underscore":"y","UpperCase":"z"}',
]
